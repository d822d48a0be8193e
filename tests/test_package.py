"""The package as a whole: what importing it imports, what it offers."""

import subprocess
import sys

import gpubp


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_brings_no_third_party_package_but_numpy():
    code = (
        "import sys, numpy; before = set(sys.modules);"
        "exec('from gpubp import *');"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before}"
        " - set(sys.stdlib_module_names))"
    )
    # the runtime of Cython that numpy.random was compiled with registers names of its own
    imported = {name for name in run(code).split() if "cython" not in name}
    assert imported <= {"gpubp", "numpy"}


def test_estimators_say_what_they_need():
    code = (
        "import sys; sys.modules['sklearn'] = None; import gpubp\n"
        "try: gpubp.MLPClassifier\n"
        "except gpubp.errors.MissingExtraError as error: print(error)"
    )
    assert "pip install 'gpubp[sklearn]'" in run(code)


def test_training_on_the_cpu_never_imports_cupy():
    code = (
        "import sys, gpubp; net = gpubp.Network([2, 1], backend='cpu');"
        "net.fit([[1, 2.0]], [[1.0]], epochs=1); net.predict([[1, 2]]);"
        "print('cupy' in sys.modules)"
    )
    assert run(code) == "False"


def test_all_public_names_exist_and_have_docstrings():
    for name in gpubp.__all__:
        assert getattr(gpubp, name).__doc__ or name == "__version__"


def test_version():
    assert gpubp.__version__.count(".") == 2
