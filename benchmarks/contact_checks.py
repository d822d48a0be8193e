"""The tests that a first contact with a GPU runs, the worst risks first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """Tests that are run together.

    Attributes
    ----------
    question : str
        What they answer.
    tests : tuple of str
        Places below tests/, as pytest takes them.
    advice : str
        What to try when they fail.
    limit : float
        Seconds.
    """

    question: str
    tests: tuple[str, ...]
    advice: str
    limit: float = 75
    sanitized: bool = False
    shared: bool = False  # by several processes


GPU = "backends/test_gpu.py"
CHECKS = (
    Check(
        "does a launch, a copy and a product work",
        ("backends/test_backends.py",),
        "run `gpubp doctor`; compare driver, CuPy and CUDA libraries",
    ),
    Check(
        "does a captured cublasLtMatmul replay",
        (f"{GPU}::test_a_captured_product_replays",),
        "train with GPUBP_TUNING=off; look whether cuBLAS allocates while capturing",
    ),
    Check(
        "is work recorded and replayed",
        ("backends/test_recorder.py",),
        "look at CuPy's Stream.begin_capture and end_capture",
    ),
    Check(
        "do replayed steps equal steps as they stand",
        (
            f"{GPU}::test_replayed_steps_equal_steps_that_are_not_recorded",
            f"{GPU}::test_a_second_fit_replays_with_data_of_its_own",
        ),
        "a recording may use memory that was given back: run with compute-sanitizer",
        limit=120,
    ),
    Check(
        "do 100 steps equal the CPU's",
        (f"{GPU}::test_100_steps_on_the_gpu_equal_those_on_the_cpu",),
        "run part `kernels`; if it passes, compare one step with Network.trace",
    ),
    Check(
        "does a step allocate nothing",
        (f"{GPU}::test_a_step_is_recorded_allocates_nothing_and_is_quick_to_ask_for",),
        "look which operation of a step asks the pool for memory",
    ),
    Check(
        "do networks on several streams keep apart",
        (f"{GPU}::test_networks_on_several_streams_do_not_disturb_each_other",),
        "look for memory that two networks share",
    ),
    Check(
        "do networks in lockstep learn what each learns alone",
        (f"{GPU}::test_networks_in_lockstep_learn_what_each_learns_alone",),
        "compare one network's step with Network.trace; see gpubp/backends/gpu/joining.py",
        limit=120,  # all its kernels are made for it
    ),
    Check(
        "do steps by tiles learn what steps by the library's products learn",
        (
            f"{GPU}::test_steps_by_tiles_learn_what_those_by_products_learn",
            "backends/test_tiles.py",
        ),
        "train with GPUBP_TUNING=off, which takes none; see gpubp/backends/gpu/tiles.py",
    ),
    Check(
        "are precisions as exact as they say",
        (f"{GPU}::test_a_precision_is_as_exact_as_it_says",),
        "look which epilogue was chosen: GPUBP_TUNING=off takes none",
    ),
    Check(
        "is memory used within its bounds",
        (
            f"{GPU}::test_a_captured_product_replays",
            "backends/test_backends.py::test_no_rows_give_no_error",
            "backends/test_kernels.py::test_backward_sums_the_bias_gradient",
        ),
        "the first line of the log that begins with ========= Invalid names the kernel",
        limit=150,
        sanitized=True,
    ),
)
REST = (
    Check(
        "do data on the host train as data on the device",
        (f"{GPU}::test_data_on_the_host_train_as_data_on_the_device", "data/test_feeds.py"),
        "look at the events of DeviceSlots",
        shared=True,
    ),
    Check(
        "does training work", ("training",), "look at the first test that failed", 150, shared=True
    ),
    Check(
        "do networks work",
        ("nn", "inspection"),
        "look at the first test that failed",
        limit=200,
        shared=True,
    ),
)
KERNEL_TESTS = (
    "backends/test_kernels.py",
    "backends/test_kernel_losses.py",
    "backends/test_kernel_updates.py",
    "nn/test_gradients.py",
)
