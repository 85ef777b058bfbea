# Installs the build, moves the installation, and uses it from outside: what works, and what must be refused clearly.
cmake_minimum_required(VERSION 3.25)

set(work ${build_dir}/package)
file(REMOVE_RECURSE ${work})
file(MAKE_DIRECTORY ${work})

# Runs COMMAND; whether it succeeds must be EXPECTED (TRUE or FALSE) and its output must match PATTERN.
function(expect what expected pattern)
    execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE text ERROR_VARIABLE text)
    set(succeeded FALSE)
    if(result STREQUAL "0")
        set(succeeded TRUE)
    endif()
    # CMake wraps its messages.
    string(REGEX REPLACE "[ \n]+" " " line "${text}")
    if(NOT succeeded STREQUAL expected OR NOT line MATCHES "${pattern}")
        string(REPLACE "\n" "\n  " text "${text}")
        message(FATAL_ERROR
            "${what}: exit code ${result}, expected success ${expected} and \"${pattern}\" in\n  ${text}")
    endif()
    message("${what}: ok")
endfunction()

function(expect_configure what expected pattern build)
    expect("${what}" ${expected} "${pattern}" ${CMAKE_COMMAND}
        -S ${source_dir}/tests/package -B ${work}/${build} -G ${generator}
        -D CMAKE_CXX_COMPILER=${compiler} -D CMAKE_PREFIX_PATH=${work}/moved ${ARGN})
endfunction()

expect("install" TRUE "" ${CMAKE_COMMAND}
    --install ${build_dir} --prefix ${work}/prefix --component repaint_development)
file(RENAME ${work}/prefix ${work}/moved)

file(GLOB_RECURSE ours RELATIVE ${source_dir}/include ${source_dir}/include/*)
file(GLOB_RECURSE installed RELATIVE ${work}/moved/include ${work}/moved/include/*)
if(NOT ours STREQUAL installed)
    list(REMOVE_ITEM ours ${installed})
    message(FATAL_ERROR "Headers that no library of CMakeLists.txt lists, so that they are not installed: ${ours}")
endif()

expect_configure("configure" TRUE "" build)
expect("build" TRUE "" ${CMAKE_COMMAND} --build ${work}/build --config Release)
expect("run" TRUE "" ${work}/build/consumer)
expect_configure("same minor version" TRUE "" build -D wanted_version=${version})
expect_configure("another version" FALSE "compatible with requested version" other -D wanted_version=99.0)
expect_configure("an unknown component" FALSE "has no component teapot; it has image, cpu, reference, cuda" teapot
    -D wanted_components=teapot)
expect_configure("a dependency that is missing" FALSE "Component image needs TurboJPEG, which was not found" missing
    -D CMAKE_DISABLE_FIND_PACKAGE_TurboJPEG=ON)
expect_configure("CUDA that is missing" FALSE "Component cuda needs CuDNN, which was not found" no_cuda
    -D wanted_components=cuda -D CMAKE_DISABLE_FIND_PACKAGE_CuDNN=ON)

if(cuda_compiler)
    expect("configure, CUDA" TRUE "" ${CMAKE_COMMAND}
        -S ${source_dir}/tests/package/cuda -B ${work}/cuda -G ${generator} -D CMAKE_BUILD_TYPE=Release
        -D CMAKE_CXX_COMPILER=${compiler} -D CMAKE_PREFIX_PATH=${work}/moved
        -D CMAKE_CUDA_COMPILER=${cuda_compiler} -D CMAKE_CUDA_HOST_COMPILER=${cuda_host_compiler}
        -D CMAKE_CUDA_ARCHITECTURES=90 -D CuDNN_ROOT=${cudnn})
    expect("build, CUDA" TRUE "" ${CMAKE_COMMAND} --build ${work}/cuda)
    expect("run, CUDA" TRUE "^(the device convolves|no device: there is no .*) $" ${work}/cuda/consumer)
endif()
