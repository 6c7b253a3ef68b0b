# Warnings for our own code; generated and third-party code is compiled without.
add_library(pith_warnings INTERFACE)
add_library(pith::warnings ALIAS pith_warnings)
target_compile_options(pith_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wnon-virtual-dtor -Wold-style-cast
  -Woverloaded-virtual -Wextra-semi -Wdouble-promotion -Wundef
  # A designated initialiser leaves the rest at their defaults on purpose.
  -Wno-missing-field-initializers
  # Wrong for std::string in g++ 12 (GCC bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)
