# Finds cuDNN 9: its headers (cudnn_backend.h) and its library.
# Defines the imported target CuDNN::cudnn, and CuDNN_VERSION. Looks in CuDNN_ROOT, CUDNN_ROOT and CUDNN_PATH (variables
# or environment variables), in the CUDA toolkit that was found before, where CMake looks anyway, and where PyTorch's
# packages put it: in the folder nvidia/cudnn of the Python that is first in PATH.

set(CuDNN_roots ${CUDNN_ROOT} ${CUDNN_PATH} $ENV{CUDNN_ROOT} $ENV{CUDNN_PATH})
find_path(CuDNN_INCLUDE_DIR NAMES cudnn_backend.h
    HINTS ${CuDNN_roots} ${CUDAToolkit_INCLUDE_DIRS} PATH_SUFFIXES include)
if(NOT CuDNN_INCLUDE_DIR)
    find_program(CuDNN_PYTHON NAMES python3 python HINTS $ENV{VIRTUAL_ENV}/bin)
    mark_as_advanced(CuDNN_PYTHON)
    if(CuDNN_PYTHON)
        execute_process(
            COMMAND ${CuDNN_PYTHON} -c
                "import importlib.util as u; print(u.find_spec('nvidia.cudnn').submodule_search_locations[0])"
            OUTPUT_VARIABLE CuDNN_wheel OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
        find_path(CuDNN_INCLUDE_DIR NAMES cudnn_backend.h PATHS ${CuDNN_wheel}/include NO_DEFAULT_PATH)
    endif()
endif()
mark_as_advanced(CuDNN_INCLUDE_DIR)

# Beside the headers first: a library of another version is worse than none. PyTorch's has no name without its number.
if(CuDNN_INCLUDE_DIR)
    cmake_path(GET CuDNN_INCLUDE_DIR PARENT_PATH CuDNN_prefix)
    find_library(CuDNN_LIBRARY NAMES cudnn libcudnn.so.9 NAMES_PER_DIR
        HINTS ${CuDNN_prefix} ${CUDAToolkit_LIBRARY_DIR} PATH_SUFFIXES lib64 lib)
endif()
mark_as_advanced(CuDNN_LIBRARY)

unset(CuDNN_VERSION)
unset(CuDNN_VERSION_9)
if(CuDNN_INCLUDE_DIR AND EXISTS ${CuDNN_INCLUDE_DIR}/cudnn_version.h)
    file(READ ${CuDNN_INCLUDE_DIR}/cudnn_version.h CuDNN_text)
    foreach(part MAJOR MINOR PATCHLEVEL)
        if(CuDNN_text MATCHES "#define CUDNN_${part} +([0-9]+)")
            string(APPEND CuDNN_VERSION ".${CMAKE_MATCH_1}")
        endif()
    endforeach()
    string(REGEX REPLACE "^\\." "" CuDNN_VERSION "${CuDNN_VERSION}")
    if(CuDNN_VERSION MATCHES "^9\\.")
        set(CuDNN_VERSION_9 ${CuDNN_VERSION})
    endif()
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(CuDNN
    REQUIRED_VARS CuDNN_LIBRARY CuDNN_INCLUDE_DIR CuDNN_VERSION_9 VERSION_VAR CuDNN_VERSION)

if(CuDNN_FOUND AND NOT TARGET CuDNN::cudnn)
    add_library(CuDNN::cudnn UNKNOWN IMPORTED)
    set_target_properties(CuDNN::cudnn PROPERTIES
        IMPORTED_LOCATION "${CuDNN_LIBRARY}"
        INTERFACE_INCLUDE_DIRECTORIES "${CuDNN_INCLUDE_DIR}")
endif()
