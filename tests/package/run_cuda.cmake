# As run.cmake, of the component cuda.
cmake_minimum_required(VERSION 3.25)

set(name package_cuda)
include(${CMAKE_CURRENT_LIST_DIR}/installed.cmake)

expect("configure" TRUE "" ${CMAKE_COMMAND}
    -S ${source_dir}/tests/package/cuda -B ${work}/build -G ${generator} -D CMAKE_BUILD_TYPE=Release
    -D CMAKE_CXX_COMPILER=${compiler} -D CMAKE_PREFIX_PATH=${work}/moved
    -D CMAKE_CUDA_COMPILER=${cuda_compiler} -D CMAKE_CUDA_HOST_COMPILER=${cuda_host_compiler}
    -D CMAKE_CUDA_ARCHITECTURES=90 -D CuDNN_ROOT=${cudnn})
expect("build" TRUE "" ${CMAKE_COMMAND} --build ${work}/build)
expect("run" TRUE "^(the device convolves|no device: there is no .*) $" ${work}/build/consumer)
