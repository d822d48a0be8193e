// Products in bfloat16 by the instructions of AVX512-BF16; setup.py gives the flags.
#define GPUBP_AVX512BF16
#define GPUBP_MODULE _host_avx512bf16
#define GPUBP_PRODUCT bfloat16_product
#include "bfloat16_product.h"
#include "product_module.h"
