# Finds xtensor (0.24 or newer) and xtensor-blas with the BLAS and LAPACK they run on.
# Defines the imported target XtensorBlas::XtensorBlas. xtensor-blas is headers only, so its include path is enough; its
# own package is not asked, because it fails where only its headers were installed. Targets named xtensor and
# xtensor-blas that already exist are used. Hints: XtensorBlas_ROOT, CMAKE_PREFIX_PATH, BLA_VENDOR.

if(NOT TARGET xtensor)
    find_package(xtensor 0.24 CONFIG QUIET)
endif()
if(TARGET xtensor)
    set(XtensorBlas_XTENSOR xtensor)
endif()

if(TARGET xtensor-blas)
    set(XtensorBlas_INCLUDE_DIR "$<TARGET_PROPERTY:xtensor-blas,INTERFACE_INCLUDE_DIRECTORIES>")
else()
    find_path(XtensorBlas_INCLUDE_DIR NAMES xtensor-blas/xlinalg.hpp)
    mark_as_advanced(XtensorBlas_INCLUDE_DIR)
endif()

find_package(BLAS QUIET)
find_package(LAPACK QUIET)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(XtensorBlas
    REQUIRED_VARS XtensorBlas_INCLUDE_DIR XtensorBlas_XTENSOR BLAS_FOUND LAPACK_FOUND)

if(XtensorBlas_FOUND AND NOT TARGET XtensorBlas::XtensorBlas)
    add_library(XtensorBlas::XtensorBlas INTERFACE IMPORTED)
    set_target_properties(XtensorBlas::XtensorBlas PROPERTIES
        INTERFACE_INCLUDE_DIRECTORIES "${XtensorBlas_INCLUDE_DIR}"
        INTERFACE_LINK_LIBRARIES "xtensor;LAPACK::LAPACK;BLAS::BLAS")
endif()
