# LibTorch of a PyTorch wheel, at PITH_TORCH_ROOT (site-packages/torch), as the target that Debian's package defines. The
# wheel's own CMake package wants a CUDA toolkit, which nothing here needs: docs/gpu.md.
find_path(PITH_TORCH_INCLUDE torch/csrc/api/include/torch/torch.h
  PATHS ${PITH_TORCH_ROOT}/include NO_DEFAULT_PATH REQUIRED)
add_library(torch INTERFACE IMPORTED GLOBAL)
target_include_directories(torch INTERFACE
  ${PITH_TORCH_INCLUDE} ${PITH_TORCH_INCLUDE}/torch/csrc/api/include)
# libtorch.so, which brings CUDA's half where the wheel has one, and the two whose functions are called.
foreach(LIBRARY torch torch_cpu c10)
  find_library(PITH_LIB_${LIBRARY} ${LIBRARY} PATHS ${PITH_TORCH_ROOT}/lib NO_DEFAULT_PATH REQUIRED)
  target_link_libraries(torch INTERFACE ${PITH_LIB_${LIBRARY}})
endforeach()
