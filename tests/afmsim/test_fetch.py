import csv
import gzip
import importlib
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from afmsim.download import Downloader, DownloadError, DownloadSettings
from afmsim.fetch import main, read_ids, remote_stem
from afmsim.structure import read_structure
from afmsim.structure_check import StructureCheck
from hpc.atomic_file import write_text_atomically

Answer = Callable[[BaseHTTPRequestHandler], None]

# One alanine in ideal geometry, and a water, in angstrom.
_ALANINE = (("N", -0.966, 0.493, 1.500), ("CA", 0.257, 0.418, 0.692), ("C", -0.094, 0.017, -0.716))
_RESIDUE_STEP_ANGSTROM = 3.8


def _pdb_text(residue_name: str) -> str:
    lines = [
        f"ATOM  {serial:5d}  {name:<3s} {residue_name:>3s} A{number:4d}    "
        f"{x + _RESIDUE_STEP_ANGSTROM * number:8.3f}{y:8.3f}{z:8.3f}  1.00 10.00           {name[0]}"
        for number in range(1, 5)
        for serial, (name, x, y, z) in enumerate(_ALANINE, start=1 + 3 * (number - 1))
    ]
    return "\n".join([*lines, "TER", "END", ""])


def _mmcif(residue_name: str) -> bytes:
    import gemmi

    structure = gemmi.read_pdb_string(_pdb_text(residue_name))
    structure.setup_entities()
    return gzip.compress(structure.make_mmcif_document().as_string().encode(), mtime=0)


PROTEIN = _mmcif("ALA")
WATER = _mmcif("HOH")


class StructureServer:
    """A server on the loopback address which answers each name as it was told, the last answer again and again."""

    def __init__(self) -> None:
        self.num_asked: Counter[str] = Counter()
        self.answers: defaultdict[str, list[Answer]] = defaultdict(list)
        self.is_closing = threading.Event()
        self.is_stalling = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                number = server.num_asked[name]
                server.num_asked[name] += 1
                answers = server.answers[name] or [status(404)]
                answers[min(number, len(answers) - 1)](self)

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._http.server_port}/download"

    def __enter__(self) -> "StructureServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def encrypt(self, certificate: Path, key: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self._http.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = self.url.replace("http:", "https:")

    def stall(self, handler: BaseHTTPRequestHandler) -> None:
        self.is_stalling.set()
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(PROTEIN[:10])
        self.is_closing.wait()


def body(content: bytes, num_announced: int | None = None, content_type: str = "application/gzip") -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", content_type)
        if num_announced != 0:
            handler.send_header("Content-Length", str(num_announced or len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def status(code: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return answer


@pytest.fixture
def server() -> Iterator[StructureServer]:
    with StructureServer() as server:
        yield server


def _downloader(server: StructureServer, **settings: float) -> Downloader:
    patience = {"num_attempts": 3, "stall_timeout_s": 5.0, "first_delay_s": 0.001} | settings
    return Downloader(server.url, DownloadSettings(**patience))  # type: ignore[arg-type]


def _refused(server: StructureServer, folder: Path, **settings: float) -> DownloadError:
    """Download 1abc, which must fail and leave nothing behind."""
    with pytest.raises(DownloadError) as caught:
        _downloader(server, **settings).download("1abc.cif.gz", folder / "1abc.cif.gz", lambda _: None)
    assert list(folder.iterdir()) == []
    return caught.value


def _fetch(server: StructureServer, folder: Path, ids: str, *options: str) -> int:
    list_path = folder.parent / "ids.txt"
    write_text_atomically(list_path, ids)
    patience = ["--base-url", server.url, "--attempts", "3", "--first-delay-s", "0.001", "--timeout-s", "5"]
    return main(["--ids", str(list_path), "--out", str(folder), *patience, *options])


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _failures(folder: Path) -> list[dict[str, str]]:
    with (folder / "failed.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_id_becomes_a_file_that_reads_as_a_structure(server: StructureServer, tmp_path: Path) -> None:
    folder = tmp_path / "structures"
    for name in ("1abc", "2abc", "pdb_00012abc"):
        server.answers[f"{name}.cif.gz"] = [body(PROTEIN)]
    assert _fetch(server, folder, "1ABC, 2abc # two\n\npdb_00012ABC 1abc pdb_00001abc\n") == 0
    assert _names(folder) == ["1abc.cif.gz", "2abc.cif.gz", "failed.csv", "pdb_00012abc.cif.gz"]
    assert _failures(folder) == []
    assert read_structure(folder / "1abc.cif.gz").num_atoms == 12
    assert server.num_asked.total() == 3


def test_what_is_there_whole_is_not_asked_for_again_and_what_is_damaged_is(
    server: StructureServer, tmp_path: Path
) -> None:
    (tmp_path / "1abc.pdb.gz").write_bytes(gzip.compress(_pdb_text("ALA").encode()))
    (tmp_path / "2abc.pdb.gz").write_bytes(PROTEIN[:-20])
    server.answers["2abc.pdb.gz"] = [body(gzip.compress(_pdb_text("ALA").encode()))]
    assert _fetch(server, tmp_path, "1abc 2abc", "--format", "pdb") == 0
    assert dict(server.num_asked) == {"2abc.pdb.gz": 1}
    assert read_structure(tmp_path / "2abc.pdb.gz").num_atoms == 12


def test_each_failure_has_a_row_with_its_reason_and_the_rest_is_fetched(
    server: StructureServer, tmp_path: Path
) -> None:
    server.answers["1abc.cif.gz"] = [body(PROTEIN)]
    server.answers["3abc.cif.gz"] = [body(WATER)]
    server.answers["4abc.cif.gz"] = [status(500)]
    assert _fetch(server, tmp_path, "../../etc/passwd\n4abc\n1abc\n2abc\n3abc\n") == 1
    rows = _failures(tmp_path)
    assert [(row["id"], row["attempts"]) for row in rows] == [
        ("../../etc/passwd", "0"),
        ("4abc", "3"),
        ("2abc", "1"),
        ("3abc", "1"),
    ]
    for row, reason in zip(rows, ("not an id", "500", "404", "'3abc.cif.gz' has no protein atoms"), strict=True):
        assert reason in row["reason"]
    assert _names(tmp_path) == ["1abc.cif.gz", "failed.csv"]


@pytest.mark.parametrize(
    "first",
    [
        status(503),
        status(429),
        status(408),
        body(PROTEIN[:100], num_announced=len(PROTEIN)),
        body(PROTEIN[:100]),
        body(PROTEIN[:-4] + b"0000"),
        body(b"", num_announced=0),
        lambda handler: handler.connection.close(),
    ],
    ids=["503", "429", "408", "cut short", "short gzip", "wrong size in gzip", "nothing", "closed"],
)
def test_a_passing_failure_is_tried_again(server: StructureServer, tmp_path: Path, first: Answer) -> None:
    server.answers["1abc.cif.gz"] = [first, body(PROTEIN)]
    path = tmp_path / "1abc.cif.gz"
    assert _downloader(server).download(path.name, path, lambda _: None) == 2
    assert path.read_bytes() == PROTEIN


def test_a_body_of_unknown_length_arrives_whole(server: StructureServer, tmp_path: Path) -> None:
    server.answers["1abc.cif.gz"] = [body(PROTEIN, num_announced=0)]
    path = tmp_path / "1abc.cif.gz"
    assert _downloader(server).download(path.name, path, lambda _: None) == 1
    assert path.read_bytes() == PROTEIN


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (status(404), "has no 1abc.cif.gz"),
        (status(403), "Forbidden"),
        (body(b"<!DOCTYPE html><html>Log in</html>", content_type="text/html"), "'text/html' that is not a gzip file"),
        (status(302, Location="http://192.0.2.1/1abc.cif.gz"), "not https"),
        (status(302, Location="file:///etc/hostname"), "302"),
        (status(429, Retry_After="86400"), "asks to wait 86400 s"),
    ],
    ids=["404", "403", "web page", "plain http elsewhere", "file", "a day's wait"],
)
def test_a_lasting_failure_is_not_tried_again(
    server: StructureServer, tmp_path: Path, answer: Answer, reason: str
) -> None:
    server.answers["1abc.cif.gz"] = [answer]
    error = _refused(server, tmp_path)
    assert reason in str(error)
    assert error.num_attempts == server.num_asked["1abc.cif.gz"] == 1


def test_a_server_that_falls_silent_is_given_up(server: StructureServer, tmp_path: Path) -> None:
    server.answers["1abc.cif.gz"] = [server.stall]
    error = _refused(server, tmp_path, num_attempts=2, stall_timeout_s=0.1)
    assert "timed out" in str(error)
    assert server.num_asked["1abc.cif.gz"] == 2


def test_a_server_that_trickles_is_given_up(server: StructureServer, tmp_path: Path) -> None:
    server.answers["1abc.cif.gz"] = [body(PROTEIN)]
    assert "took more than 0 s" in str(_refused(server, tmp_path, attempt_timeout_s=0.0))


def test_a_port_where_nobody_listens_is_given_up_with_a_reason(tmp_path: Path) -> None:
    with StructureServer() as server:
        pass
    assert "no answer from 127.0.0.1" in str(_refused(server, tmp_path))


@pytest.mark.parametrize("num_announced", [None, 0], ids=["announced", "not announced"])
def test_a_file_beyond_the_size_limit_is_refused(
    server: StructureServer, tmp_path: Path, num_announced: int | None
) -> None:
    server.answers["1abc.cif.gz"] = [body(PROTEIN, num_announced)]
    assert "more than the allowed" in str(_refused(server, tmp_path, max_bytes=len(PROTEIN) - 1))
    path = tmp_path / "1abc.cif.gz"
    assert _downloader(server, max_bytes=len(PROTEIN)).download(path.name, path, lambda _: None) == 1


class _RecordedPauses(threading.Event):
    def __init__(self) -> None:
        super().__init__()
        self.delays_s: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.delays_s.append(timeout)
        return False


def _pauses(server: StructureServer, folder: Path, answer: Answer, **settings: float) -> list[float]:
    server.answers["1abc.cif.gz"] = [answer]
    downloader = _downloader(server, **settings)
    pauses = _RecordedPauses()
    downloader._stopped = pauses
    with pytest.raises(DownloadError, match="given up"):
        downloader.download("1abc.cif.gz", folder / "1abc.cif.gz", lambda _: None)
    return pauses.delays_s


def test_pauses_double_up_to_a_limit_and_are_out_of_step(server: StructureServer, tmp_path: Path) -> None:
    delays_s = _pauses(server, tmp_path, status(503), num_attempts=6, first_delay_s=1.0, max_delay_s=6.0)
    assert len(delays_s) == 5
    for delay_s, longest_s in zip(delays_s, (1.0, 2.0, 4.0, 6.0, 6.0), strict=True):
        assert 0.5 * longest_s <= delay_s <= longest_s
    assert len(set(delays_s)) == 5


@pytest.mark.parametrize("is_date", [False, True], ids=["seconds", "date"])
def test_a_pause_is_at_least_as_long_as_the_server_asks(server: StructureServer, tmp_path: Path, is_date: bool) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=60)
    asked = format_datetime(moment, usegmt=True) if is_date else "60"
    for delay_s in _pauses(server, tmp_path, status(429, Retry_After=asked), first_delay_s=1.0):
        # A date has whole seconds, and some pass until it is read.
        assert (30.0 if is_date else 60.0) <= delay_s <= 61.0


def test_a_retry_after_that_means_nothing_is_passed_over(server: StructureServer, tmp_path: Path) -> None:
    assert max(_pauses(server, tmp_path, status(503, Retry_After="soon"), first_delay_s=1.0)) <= 2.0


@pytest.mark.parametrize(
    "base_url",
    [
        "http://example.org/download",
        "http://localhost.example.org/",
        "ftp://example.org",
        "file:///etc",
        "https://",
        "https://user:word@example.org",
        "https://example.org/?id=",
        "https://example.org:port/",
        "https://[::1",
        "example.org",
        "",
    ],
)
def test_a_base_url_that_is_not_plainly_https_is_refused(
    tmp_path: Path, base_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ids.txt").write_text("1abc")
    assert main(["--ids", str(tmp_path / "ids.txt"), "--out", str(tmp_path / "out"), "--base-url", base_url]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [["--parallel", "0"], ["--attempts", "-1"], ["--timeout-s", "nan"]])
def test_an_option_out_of_range_is_refused(server: StructureServer, tmp_path: Path, options: list[str]) -> None:
    assert _fetch(server, tmp_path / "out", "1abc", *options) == 2


@pytest.mark.parametrize(
    "entry_id",
    [
        "1ab",
        "1abcd",
        "abcd",
        "..",
        "1a/c",
        "1a%2",
        "1a\\c",
        "1a\0c",
        "1ab\u212a",
        "pdb_0000",
        "pdb_00001ab/",
        "AF-../..-F1",
    ],
)
def test_what_is_not_plainly_an_id_never_becomes_a_part_of_a_url(entry_id: str) -> None:
    assert remote_stem(entry_id) is None


def test_ids_are_called_on_the_server_as_it_spells_them() -> None:
    assert [remote_stem(entry_id) for entry_id in ("4HHB", "PDB_00004HHB", "AF-P69905-F1-model_v4")] == [
        "4hhb",
        "pdb_00004hhb",
        "AF-P69905-F1-model_v4",
    ]


@pytest.mark.parametrize("content", ["", "# nothing\n", " ,\n"])
def test_a_list_without_ids_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "ids.txt").write_text(content)
    with pytest.raises(ValueError, match="holds no ids"):
        read_ids(tmp_path / "ids.txt")


def test_a_list_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert main(["--ids", str(tmp_path / "no.txt"), "--out", str(tmp_path / "out")]) == 2


# A module of its own, so that the processes which read it need not import this one.
_CRASHING_READER = """
import os

def problem_of(path, name):
    content = path.read_text()
    if content == "crash":
        os._exit(1)
    return "" if content == "good" else f"{name} is {content}"
"""


def test_a_file_that_crashes_the_reader_is_named_and_no_other_is_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crashing_reader.py").write_text(_CRASHING_READER)
    monkeypatch.syspath_prepend(tmp_path)
    for content in ("crash", "good", "bad"):
        (tmp_path / content).write_text(content)
    with StructureCheck(importlib.import_module("crashing_reader").problem_of) as check:
        with pytest.raises(ValueError, match="'1abc' crashes the reader"):
            check(tmp_path / "crash", "1abc")
        check(tmp_path / "good", "2abc")
        with pytest.raises(ValueError, match="3abc is bad"):
            check(tmp_path / "bad", "3abc")


@pytest.fixture
def encrypted(server: StructureServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the server a certificate of its own making and return that."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")],
        check=True,
        capture_output=True,
    )  # fmt: skip
    server.encrypt(folder / "certificate.pem", folder / "key.pem")
    server.answers["1abc.cif.gz"] = [body(PROTEIN)]
    return folder / "certificate.pem"


@pytest.mark.usefixtures("encrypted")
def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(server: StructureServer, tmp_path: Path) -> None:
    error = _refused(server, tmp_path)
    assert "is not trusted" in str(error)
    assert (error.num_attempts, server.num_asked.total()) == (1, 0)


def test_an_encrypted_answer_arrives_and_a_redirect_to_plain_http_is_refused(
    server: StructureServer, encrypted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(encrypted))
    path = tmp_path / "1abc.cif.gz"
    assert _downloader(server).download(path.name, path, lambda _: None) == 1
    path.unlink()
    with StructureServer() as plain:
        plain.answers["1abc.cif.gz"] = [body(PROTEIN)]
        server.answers["1abc.cif.gz"] = [status(307, Location=f"{plain.url}/1abc.cif.gz")]
        assert "not https" in str(_refused(server, tmp_path))
        assert plain.num_asked.total() == 0


def test_a_redirect_between_loopback_addresses_is_followed(server: StructureServer, tmp_path: Path) -> None:
    server.answers["1abc.cif.gz"] = [status(307, Location=f"{server.url}/moved.cif.gz")]
    server.answers["moved.cif.gz"] = [body(PROTEIN)]
    path = tmp_path / "1abc.cif.gz"
    assert _downloader(server).download(path.name, path, lambda _: None) == 1


def test_an_interrupted_command_ends_in_good_order(server: StructureServer, tmp_path: Path) -> None:
    server.answers["1abc.cif.gz"] = [server.stall]
    (tmp_path / "ids.txt").write_text("1abc")
    command = [sys.executable, "-m", "afmsim.fetch", "--ids", str(tmp_path / "ids.txt"), "--out", str(tmp_path / "out")]
    command += ["--base-url", server.url, "--timeout-s", "0.5"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert server.is_stalling.wait(60)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert [line.partition(" ")[2] for line in errors.splitlines()] == [
        "WARNING interrupted; the same command continues"
    ]
    assert _names(tmp_path / "out") == []


def test_the_help_imports_nothing_heavy() -> None:
    program = (
        "import sys, afmsim.fetch\n"
        "try: afmsim.fetch.main(['--help'])\n"
        "finally: assert not {'numpy', 'gemmi', 'torch', 'rich', 'zarr', 'pymol'} & set(sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr.strip()) == (0, "")
