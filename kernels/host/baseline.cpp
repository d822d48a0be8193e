// The compiled CPU kernels for any processor's instructions; setup.py gives the flags.
#define GPUBP_MODULE _host_baseline
#include "module.h"
