// CUDA's header in a .cpp is one mistake, and one message: where to include the header from.
// says: error: .*cuda.hpp has CUDA kernels: include it from a .cu file
// errors: 1
#include <repaint/backend/cuda.hpp>

int main() {}
