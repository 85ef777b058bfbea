// A library needs a source of its own; what counts in this one is what CMake adds: the definitions files of the library.
