# Uses the installed package from outside, and the source folder from inside: what works, and what must be refused clearly.
cmake_minimum_required(VERSION 3.25)

set(name package)
include(${CMAKE_CURRENT_LIST_DIR}/installed.cmake)

file(GLOB_RECURSE ours RELATIVE ${source_dir}/include ${source_dir}/include/*)
file(GLOB_RECURSE installed RELATIVE ${work}/moved/include ${work}/moved/include/*)
list(FILTER ours EXCLUDE REGEX "[.]md$")
if(NOT ours STREQUAL installed)
    list(REMOVE_ITEM ours ${installed})
    message(FATAL_ERROR "Headers that no library of CMakeLists.txt lists, so that they are not installed: ${ours}")
endif()

expect_configure("configure" TRUE "" build)
expect("build" TRUE "" ${CMAKE_COMMAND} --build ${work}/build --config Release)
expect("run" TRUE "" ${work}/build/consumer)
expect_configure("configure, header-only" TRUE "" header_only -D definitions=NONE)
expect("build, header-only" TRUE "" ${CMAKE_COMMAND} --build ${work}/header_only --config Release)
expect("run, header-only" TRUE "" ${work}/header_only/consumer)
expect_configure("configure, add_subdirectory" TRUE "" inside -D repaint_folder=${source_dir})
expect("build, add_subdirectory" TRUE "" ${CMAKE_COMMAND} --build ${work}/inside --config Release)
expect("run, add_subdirectory" TRUE "" ${work}/inside/consumer)
expect("a plain compiler" TRUE "" ${compiler} -std=c++20 -I ${work}/moved/include
    ${source_dir}/tests/package/plain.cpp -o ${work}/plain -pthread)
expect("run, a plain compiler" TRUE "" ${work}/plain)
expect_configure("same minor version" TRUE "" build -D wanted_version=${version})
expect_configure("another version" FALSE "compatible with requested version" other -D wanted_version=99.0)
expect_configure("an unknown component" FALSE "has no component teapot; it has image, cpu, reference, cuda" teapot
    -D wanted_components=teapot)
expect_configure("a dependency that is missing" FALSE "Component image needs TurboJPEG, which was not found" missing
    -D CMAKE_DISABLE_FIND_PACKAGE_TurboJPEG=ON)
expect_configure("CUDA that is missing" FALSE "Component cuda needs CuDNN, which was not found" no_cuda
    -D wanted_components=cuda -D CMAKE_DISABLE_FIND_PACKAGE_CuDNN=ON)
