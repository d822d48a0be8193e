"""One library, one table, one seed: fit on the training file, measure on the test file.

    python tables_peer.py LIBRARY TRAIN.csv TEST.csv TARGET TASK SEED [KEY=VALUE ...]

Prints one line of JSON: the measure, seconds, the peak of the memory, versions. The libraries get
the same columns: text as categories, numbers with the median where missing for those that need it.
What follows the seed are settings of gpubp's estimators.
"""

from __future__ import annotations

import importlib.metadata
import json
import resource
import sys
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd

warnings.filterwarnings("ignore")


def read(paths: list[str], target: str) -> list[tuple[pd.DataFrame, pd.Series]]:
    """Return the columns and the target of each file."""
    tables = [pd.read_csv(path) for path in paths]
    return [(table.drop(columns=target), table[target]) for table in tables]


def categories(x: pd.DataFrame) -> list[str]:
    """Return the columns that hold text."""
    return [name for name in x if not pd.api.types.is_numeric_dtype(x[name])]


def prepared_for_sklearn(x: pd.DataFrame, scaled: bool) -> Any:
    """Return what makes numbers of all columns."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    texts = categories(x)
    numbers = [name for name in x if name not in texts]
    if not scaled:
        coded = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
        return ColumnTransformer([("text", coded, texts), ("number", "passthrough", numbers)])
    filled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="ignore", min_frequency=3, sparse_output=False)
    return ColumnTransformer([("text", one_hot, texts), ("number", filled, numbers)])


def sklearn_mlp(x: pd.DataFrame, classify: bool, seed: int, settings: dict[str, Any]) -> Any:
    """scikit-learn's perceptron with early stopping, inputs and targets scaled."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    ready = prepared_for_sklearn(x, scaled=True)
    if classify:
        return make_pipeline(ready, MLPClassifier(early_stopping=True, random_state=seed))
    net = MLPRegressor(early_stopping=True, random_state=seed)
    return make_pipeline(ready, TransformedTargetRegressor(net, transformer=StandardScaler()))


def hist_gradient_boosting(
    x: pd.DataFrame, classify: bool, seed: int, settings: dict[str, Any]
) -> Any:
    """scikit-learn's boosted trees with their defaults."""
    from sklearn import ensemble
    from sklearn.pipeline import make_pipeline

    kind = "Classifier" if classify else "Regressor"
    texts = list(range(len(categories(x))))  # the transformer puts them first
    trees = getattr(ensemble, f"HistGradientBoosting{kind}")
    model = trees(categorical_features=texts, random_state=seed)
    return make_pipeline(prepared_for_sklearn(x, scaled=False), model)


def lightgbm(x: pd.DataFrame, classify: bool, seed: int, settings: dict[str, Any]) -> Any:
    """LightGBM with its defaults."""
    import lightgbm as library

    kind = library.LGBMClassifier if classify else library.LGBMRegressor
    return kind(random_state=seed, verbose=-1)


def catboost(x: pd.DataFrame, classify: bool, seed: int, settings: dict[str, Any]) -> Any:
    """CatBoost with its defaults."""
    import catboost as library

    kind = library.CatBoostClassifier if classify else library.CatBoostRegressor
    texts = categories(x)
    return kind(random_seed=seed, cat_features=texts, verbose=False, allow_writing_files=False)


def realmlp(x: pd.DataFrame, classify: bool, seed: int, settings: dict[str, Any]) -> Any:
    """RealMLP-TD with its defaults."""
    import pytabkit

    kind = pytabkit.RealMLP_TD_Classifier if classify else pytabkit.RealMLP_TD_Regressor
    return kind(random_state=seed, device="cpu", verbosity=0)


def tabm(x: pd.DataFrame, classify: bool, seed: int, settings: dict[str, Any]) -> Any:
    """TabM with pytabkit's defaults."""
    import pytabkit

    kind = pytabkit.TabM_D_Classifier if classify else pytabkit.TabM_D_Regressor
    return kind(random_state=seed, device="cpu", verbosity=0)


def torch_same(x: pd.DataFrame, classify: bool, seed: int, settings: dict[str, Any]) -> Any:
    """One network of gpubp's default, written in PyTorch."""
    from torch_table import TorchTable

    ready = prepared_for_sklearn(x, scaled=True)
    ready.transformers.reverse()  # numbers first
    return TorchTable(ready, len(list(x)) - len(categories(x)), classify, seed)


def gpubp(x: pd.DataFrame, classify: bool, seed: int, settings: dict[str, Any]) -> Any:
    """gpubp with a preset, or settings of its own."""
    import gpubp as library

    kind = library.TabularClassifier if classify else library.TabularRegressor
    return kind(random_state=seed, backend="cpu", **settings)


SLOW = ("realmlp", "tabm")
LIBRARIES = {
    "sklearn-mlp": (sklearn_mlp, "scikit-learn"),
    "hgb": (hist_gradient_boosting, "scikit-learn"),
    "lightgbm": (lightgbm, "lightgbm"),
    "catboost": (catboost, "catboost"),
    "realmlp": (realmlp, "pytabkit"),
    "tabm": (tabm, "pytabkit"),
    "torch-same": (torch_same, "torch"),
    "gpubp": (gpubp, "gpubp"),
}


def for_library(name: str, x: pd.DataFrame) -> pd.DataFrame:
    """Return columns as the library wants them."""
    x = x.copy()
    for column in categories(x):
        if name == "lightgbm":
            x[column] = x[column].astype("category")
        elif name != "gpubp":
            x[column] = x[column].astype(object).where(x[column].notna(), "missing").astype(str)
            if name in SLOW:
                x[column] = x[column].astype("category")
    return x


def measures(model: Any, x: pd.DataFrame, y: pd.Series, classify: bool) -> dict[str, float]:
    """Return log loss, accuracy and calibration error; or R2 and the coverage of intervals."""
    expected = y.to_numpy()
    if not classify:
        found = np.asarray(model.predict(x), float).ravel()
        result = {"r2": 1 - ((found - expected) ** 2).mean() / expected.var()}
        if hasattr(model, "predict_interval"):
            ends = model.predict_interval(x)
            inside = (ends[:, 0] <= expected) & (expected <= ends[:, 1])
            result["coverage of 0.9"] = float(inside.mean())
        return result
    shares = np.asarray(model.predict_proba(x), float)
    shares = np.clip(shares / shares.sum(axis=1, keepdims=True), 1e-15, 1)
    labels = {label: place for place, label in enumerate(np.asarray(model.classes_).tolist())}
    places = np.array([labels[label] for label in expected.tolist()])
    own = shares[np.arange(len(places)), places]
    right, sure = shares.argmax(axis=1) == places, shares.max(axis=1)
    bins = np.minimum((sure * 15).astype(int), 14)
    gaps = [abs((sure[bins == b] - right[bins == b]).sum()) for b in np.unique(bins)]
    return {
        "log loss": float(-np.log(own).mean()),
        "accuracy": float(right.mean()),
        "calibration error": float(sum(gaps) / len(places)),
    }


def main() -> None:
    """Fit, measure, print."""
    name, train, test, target, task, seed, *given = sys.argv[1:]
    settings: dict[str, Any] = {}
    for each in given:
        key, _, value = each.partition("=")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    classify = task == "classification"
    make, distribution = LIBRARIES[name]
    (x, y), (held_x, held_y) = read([train, test], target)
    if name == "lightgbm":  # both files must know the same categories
        both = for_library(name, pd.concat([x, held_x], ignore_index=True))
        x, held_x = both.iloc[: len(x)], both.iloc[len(x) :]
    else:
        x, held_x = for_library(name, x), for_library(name, held_x)
    if name in SLOW:  # which take no missing numbers
        medians = x.median(numeric_only=True)
        x, held_x = x.fillna(medians), held_x.fillna(medians)
    model = make(x, classify, int(seed), settings)
    start = time.perf_counter()
    model.fit(x, y)
    seconds = time.perf_counter() - start
    found = measures(model, held_x, held_y, classify)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    version = f"{distribution} {importlib.metadata.version(distribution)}"
    print(
        json.dumps(
            {**found, "seconds": round(seconds, 2), "peak MB": round(peak), "version": version}
        )
    )


if __name__ == "__main__":
    main()
