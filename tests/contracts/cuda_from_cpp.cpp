// Does not compile, and the compiler says one thing only: where to include the header from (tests/CMakeLists.txt).
#include <repaint/backend/cuda.hpp>

int main() {}
