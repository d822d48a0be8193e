// The compiled CPU kernels for AVX2; setup.py gives the flags.
#define GPUBP_MODULE _host_avx2
#include "module.h"
