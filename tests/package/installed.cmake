# What run.cmake and run_cuda.cmake begin with: installs the build into a folder of its own, and moves the installation.

set(work ${build_dir}/${name})
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
