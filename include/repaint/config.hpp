#pragma once

/// How the functions of this library that are no templates reach a program.
///
/// By default the library is header-only: every header ends with the definitions of what it declares, and an include is
/// all that a build needs. With REPAINT_COMPILED defined headers only declare, and what they declare has to be compiled
/// once into the program: repaint/definitions.cpp, where picture files are used repaint/image/definitions.cpp, and where
/// cpu_backend is used the three .cpp files of repaint/backend/cpu. The CMake targets define the macro and add these files
/// to whatever links them. Both ways give the same types, the same functions and the same results, and may meet in one
/// program.
#define REPAINT_INLINE inline
/// For what runs once before the work (readers, tables, plans, checks): compiled for size, in half the time.
#define REPAINT_COLD REPAINT_INLINE REPAINT_SETUP
#define REPAINT_SETUP __attribute__((cold)) // the same of a template
