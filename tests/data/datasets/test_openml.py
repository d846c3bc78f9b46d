"""OpenML's client against a server on this machine, with answers in the shape of OpenML's own."""

import gzip
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import URLError

import pytest
from sklearn.datasets import _openml

from jdl.core.errors import TaskError
from jdl.data.datasets import openml
from jdl.data.datasets.catalogue import TASKS
from jdl.data.datasets.openml import OpenmlData

ARFF = """@RELATION cars
@ATTRIBUTE model STRING
@ATTRIBUTE weight REAL
@ATTRIBUTE gears INTEGER
@ATTRIBUTE fuel {'diesel oil',petrol}
@ATTRIBUTE class {0,1}
@DATA
a,1.5,4,'diesel oil',1
b,?,5,petrol,0
c,2.5,4,?,1
"""
COLUMNS = [("model", "string"), ("weight", "numeric"), ("gears", "numeric"), ("fuel", "nominal"), ("class", "nominal")]
CARS = OpenmlData("cars", 7, "cars", "class", 3, drop=("model",), positive="fast", labels={"0": "slow", "1": "fast"})


def answers(url, *, md5=None, name="cars"):
    description = {
        "id": "7",
        "name": name,
        "version": "1",
        "status": "active",
        "format": "ARFF",
        "url": f"{url}/data/v1/download/70/cars.arff",
        "file_id": "70",
        "default_target_attribute": "class",
        "md5_checksum": md5 or hashlib.md5(ARFF.encode()).hexdigest(),
        "description": "Three cars.",
    }
    features = [
        {
            "index": str(i),
            "name": column,
            "data_type": kind,
            "is_target": "true" if column == "class" else "false",
            "is_ignore": "false",
            "is_row_identifier": "false",
            "number_of_missing_values": "1" if column in ("weight", "fuel") else "0",
        }
        for i, (column, kind) in enumerate(COLUMNS)
    ]
    qualities = [{"name": "NumberOfInstances", "value": "3.0"}]
    return {
        "/api/v1/json/data/7": json.dumps({"data_set_description": description}),
        "/api/v1/json/data/features/7": json.dumps({"data_features": {"feature": features}}),
        "/api/v1/json/data/qualities/7": json.dumps({"data_qualities": {"quality": qualities}}),
        "/data/v1/download/70/cars.arff": ARFF,
    }


class Answering(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        body = self.server.answers.get(self.path, "").encode()
        self.send_response(200 if body else 412)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("JDL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(monkeypatch, cache):
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        server.asked, server.url, server.answers = [], url, answers(url)
        for constant in ("_DATA_INFO", "_DATA_FEATURES", "_DATA_QUALITIES"):
            monkeypatch.setattr(_openml, constant, getattr(_openml, constant).replace("https://www.openml.org", url))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def no_network(monkeypatch, cache):
    def refuse(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(_openml, "urlopen", refuse)
    monkeypatch.setattr(_openml.time, "sleep", lambda seconds: None)


def test_a_task_is_fetched_once_and_then_read_from_the_cache(server, cache):
    task = CARS.load()
    assert task.feature_types == {"weight": "float", "gears": "int", "fuel": "category"}
    assert task.levels()["fuel"] == ["diesel oil", "petrol"]
    assert task.truth().tolist() == ["fast", "slow", "fast"] and task.positive == "fast"
    assert task.missings().to_dict() == {"weight": 1, "gears": 0, "fuel": 1, "class": 0}
    assert len(server.asked) == 4
    assert CARS.load().to_pandas().equals(task.to_pandas())
    assert len(server.asked) == 4
    assert (cache / "openml").is_dir()


def test_a_wrong_checksum_is_an_error(server):
    server.answers = answers(server.url, md5="0" * 32)
    with pytest.raises(
        TaskError, match=r"data set 7 \('cars'\) fails OpenML's checksum[\s\S]*put a CSV file"
    ) as caught:
        CARS.load()
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_cached_file_that_was_altered_is_fetched_again(server, cache):
    task = CARS.load()
    (file,) = cache.rglob("cars.arff.gz")
    original = file.read_bytes()
    file.write_bytes(gzip.compress(ARFF.replace("1.5", "9.5").encode()))
    assert CARS.load().to_pandas().equals(task.to_pandas())
    assert server.asked.count("/data/v1/download/70/cars.arff") == 2
    assert gzip.decompress(file.read_bytes()) == gzip.decompress(original)


def test_an_id_that_holds_something_else_is_an_error(server):
    server.answers = answers(server.url, name="trucks")
    with pytest.raises(TaskError, match="data set 7 must be 'cars' with target 'class' and 3 rows, got 'trucks'"):
        CARS.load()


def test_an_id_that_does_not_exist_is_an_error(server):
    server.answers = {}
    with pytest.raises(TaskError, match=r"could not be fetched: .*7 not found"):
        CARS.load()


def test_offline_says_where_it_looked_and_where_a_file_may_be_put(no_network, cache):
    with pytest.raises(TaskError) as caught:
        openml.sonar()
    for part in ["Task 'sonar'", "no route to host", "openml.org/d/40", "'Class'"]:
        assert part in str(caught.value)
    assert str(cache / "openml") in str(caught.value)
    assert str(cache / "datasets" / "sonar.csv") in str(caught.value)


def test_a_file_in_the_cache_folder_is_used(no_network, cache):
    (cache / "datasets").mkdir(parents=True)
    (cache / "datasets" / "mtcars.csv").write_text("model,mpg,wt\nMazda RX4,21.0,2.62\nDatsun 710,22.8,2.32\n")
    task = TASKS.make("mtcars")
    assert task.feature_names == ["wt"] and task.target_values.tolist() == [21.0, 22.8] and task.id == "mtcars"
    (cache / "datasets" / "zoo.csv").write_text("animal,kind\nbear,mammal\n")
    with pytest.raises(TaskError, match=r"zoo\.csv' must have the target column 'type', got 'animal', 'kind'"):
        TASKS.make("zoo")


def test_labels_of_a_users_file_may_be_other_ones(no_network, cache):
    (cache / "datasets").mkdir(parents=True)
    (cache / "datasets" / "sonar.csv").write_text("V1,Class\n0.1,M\n0.2,R\n")
    assert openml.sonar().class_names == ["M", "R"]
    (cache / "datasets" / "spam.csv").write_text("f,class\n0.1,1\n0.2,0\n")
    assert openml.spam().truth().tolist() == ["spam", "nonspam"]


@pytest.mark.parametrize("name", ["sonar", "german_credit", "penguins", "spam", "zoo", "california_housing", "mtcars"])
def test_every_name_asks_for_its_own_id(server, monkeypatch, name):
    with pytest.raises(TaskError, match=f"Task '{name}'"):
        TASKS.make(name)
    ids = {"sonar": 40, "german_credit": 31, "penguins": 42585, "spam": 44, "zoo": 62}
    expected = ids | {"california_housing": 44977, "mtcars": 43452}
    assert server.asked == [f"/api/v1/json/data/{expected[name]}"]


def test_all_tasks_have_a_line_of_description():
    names = TASKS.names()
    assert len(names) == 18 and all(len(line.split(None, 1)) == 2 for line in repr(names).splitlines())
