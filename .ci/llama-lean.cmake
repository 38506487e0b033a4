# Included right after llama-cpp-python's project(): its own cache entry forces llama.cpp's C++ toolbox on, which Python
# never loads and which is half of the compile time.  A normal variable of the same name hides that entry.
set(LLAMA_BUILD_COMMON OFF)
