// The compiled CPU kernels for AVX-512; setup.py gives the flags.
#define GPUBP_MODULE _host_avx512
#include "module.h"
