# A change here wants a new OLLMLX_LLAMA_BUILD in pyproject.toml.
# Included right after llama-cpp-python's project(): its own cache entry forces llama.cpp's C++ toolbox on, which Python
# never loads and which is half of the compile time.  A normal variable of the same name hides that entry.
set(LLAMA_BUILD_COMMON OFF)

# GCC bug 114098: these compilers drop a store in llama.cpp's AMX set-up, and the first quantised product crashes.
# Without AMX its other fast kernels stay in use; see ollmlx/engine/llama/model.py for builds that have it.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(gcc ${CMAKE_CXX_COMPILER_VERSION})
  if(gcc VERSION_GREATER_EQUAL 11 AND (gcc VERSION_LESS 11.5
      OR (gcc VERSION_GREATER_EQUAL 12 AND gcc VERSION_LESS 12.4)
      OR (gcc VERSION_GREATER_EQUAL 13 AND gcc VERSION_LESS 13.3)))
    add_compile_options(-mno-amx-tile -mno-amx-int8 -mno-amx-bf16)
  endif()
endif()
