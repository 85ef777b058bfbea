# The README's program is examples/inpaint.cpp, letter by letter.
file(READ ${source_dir}/README.md readme)
file(READ ${source_dir}/examples/inpaint.cpp program)
string(FIND "${readme}" "```cpp\n${program}```" at)
if(at EQUAL -1)
    message(FATAL_ERROR "README.md does not quote examples/inpaint.cpp as it is")
endif()
