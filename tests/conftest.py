"""How tests are spread over cores; a headless Chromium, for tests of what people see in a browser;
several processes."""

import base64
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest_plugins = ["rotation", "outcomes"]
TRAINING = Path(__file__).resolve().parent / "training"

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores. Before torch is imported, and for the processes that tests start.
    os.environ["OMP_NUM_THREADS"] = "1"

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --disable-dev-shm-usage"
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """A worker for each core, four at most, for the whole default run; none for a part of it, which
    is done before they have started, and for slow tests and those of a device, which are alone."""
    chosen, by_name = config.option, config.args_source is pytest.Config.ArgsSource.ARGS
    default = "not slow" in chosen.markexpr and "not gpu" in chosen.markexpr
    if by_name or not default or chosen.keyword or chosen.lf or chosen.collectonly:
        return 0
    if chosen.capture == "no":  # what workers print is not seen
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores, 4) if cores > 1 else 0


def _asks_for_devices_only(config):
    return "gpu" in config.option.markexpr and "not gpu" not in config.option.markexpr


@cache
def _has_device_tests(path):
    """Whether a test file, or one in a folder, has tests that need a CUDA device."""
    if path.is_dir():
        return any(_has_device_tests(file) for file in path.rglob("test_*.py"))
    return "pytest.mark.gpu" in path.read_text("utf-8")


@cache
def _missing(package):
    try:
        import_module(package)
    except ImportError:
        return True
    return False


def pytest_ignore_collect(collection_path, config):
    """A machine with a GPU need not have what other tests import: `-m gpu` collects none of them,
    nor tests of training without pydantic."""
    if _asks_for_devices_only(config):
        without = collection_path == TRAINING and _missing("pydantic")
        tests = collection_path.is_dir() or collection_path.name.startswith("test_")
        return True if without or (tests and not _has_device_tests(collection_path)) else None
    return None


def pytest_report_header(config):
    if _asks_for_devices_only(config) and _missing("pydantic"):
        return "tests/training is left out: there is no pydantic"
    return None


class Browser:
    """A selenium driver (`driver`), how the page is looked at, and what the page has done."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, url, *, width=1280, height=800, dark=False):
        """Loads the page at this size; what was logged and requested before is forgotten."""
        phone = width < 600
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get("about:blank")
        self.complaints()
        self.requests()
        self.driver.get(str(url))

    def complaints(self):
        """Errors and warnings of the console since the last call."""
        entries = self.driver.get_log("browser")
        return [e["message"] for e in entries if e["level"] in ("SEVERE", "WARNING")]

    def requests(self):
        """Addresses the page asked for since the last call, whether they answered or not."""
        events = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [p["request"]["url"] for p in sent if p["request"]["url"] != "about:blank"]

    def strangers(self, *allowed):
        """`requests`, less those below the addresses in `allowed` and those that leave no page."""
        local = {"data", "blob", "about"}
        asked = [u for u in self.requests() if urlsplit(u).scheme not in local]
        return [u for u in asked if not u.startswith(tuple(map(str, allowed)))]

    def too_wide(self):
        """Pixels by which the page is wider than the window."""
        return self.driver.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )

    def picture(self, path):
        """The whole page as PNG, below the fold too."""
        path = Path(path)
        height = self.driver.execute_script("return document.documentElement.scrollHeight")
        width = self.driver.execute_script("return window.innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        options = {"format": "png", "captureBeyondViewport": True, "clip": clip}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", options)
        path.write_bytes(base64.b64decode(shot["data"]))
        return path


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """`Browser`, one for all tests. Skips where Chromium, its driver or selenium is missing."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and chromedriver):
        pytest.skip("chromium and chromedriver are not installed")
    options = selenium.ChromeOptions()
    options.binary_location = chromium
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = selenium.Chrome(options, selenium.ChromeService(chromedriver))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


@pytest.fixture
def torchrun():
    """Starts processes on this machine: `torchrun(processes, script, *arguments, restarts=0)`.

    Gives the running torchrun, whose output and errors are text. What is left of it is stopped.
    """
    started = []

    def start(processes, *arguments, restarts=0):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node", str(processes), "--max-restarts", str(restarts)]
        here = str(Path(__file__).resolve().parent.parent)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": here}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        run = subprocess.Popen([*command, *map(str, arguments)], env=environment, **pipes)
        started.append(run)
        return run

    yield start
    for run in started:
        if run.poll() is None:
            run.terminate()
            run.communicate(timeout=60)
