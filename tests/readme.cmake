# The README's programs are examples/inpaint.cpp and examples/fill.cu, letter by letter.
file(READ ${source_dir}/README.md readme)
foreach(example inpaint.cpp fill.cu)
    file(READ ${source_dir}/examples/${example} program)
    string(FIND "${readme}" "```cpp\n${program}```" at)
    if(at EQUAL -1)
        message(FATAL_ERROR "README.md does not quote examples/${example} as it is")
    endif()
endforeach()
