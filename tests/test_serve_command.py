"""`attnbook serve`: a page for what one types."""

import signal
import socket
import threading
from http.client import HTTPConnection
from urllib.parse import quote

import pytest

from attnbook.commands import serve
from command_line import refused, subprocess_of
from small_models import fitted


@pytest.fixture(scope="module")
def address():
    serving = serve.server("127.0.0.1", 0, serve._answer(fitted(), 1, 1.0))
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield serving.server_address[:2]
    serving.shutdown()
    serving.server_close()


def get(address, path, method="GET", **headers):
    host, port = address
    connection = HTTPConnection(host, port, timeout=60)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode("utf-8"), dict(answer.getheaders())
    connection.close()
    return found


def test_a_sentence_is_translated_with_its_figure(address):
    status, page, headers = get(address, "/?sentence=" + quote("Er isst Brot"))
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<strong>he eats bread</strong>" in page
    assert 'value="Er isst Brot"' in page
    assert '<div class="attn-scrubber-figure' in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    status, page, _ = get(address, "/")
    assert status == 200
    assert "Type a sentence to translate." in page
    assert "attn-scrubber-figure" not in page


def test_what_is_typed_cannot_become_part_of_the_page(address):
    _, page, _ = get(address, "/?sentence=" + quote('"><script>alert(1)</script>'))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_too_much_is_refused(address):
    for sentence in ("er " * 61, "e" * 1001):
        status, page, _ = get(address, "/?sentence=" + quote(sentence))
        assert status == 400
        assert "at most 60 words and 1,000 characters" in page
    assert get(address, "/?sentence=" + "e" * 70_000)[0] == 414
    assert get(address, "/?" + "a=1&" * 9 + "sentence=er")[0] == 400


@pytest.mark.parametrize("path", ["/etc/passwd", "/../../etc/passwd", "//etc/passwd", "/a.html"])
def test_there_are_no_files(address, path):
    assert get(address, path)[0] == 404


def test_other_methods_and_other_names_are_refused(address):
    assert get(address, "/", "POST")[0] == 501
    assert get(address, "/", Host="evil.example:80")[0] == 403
    assert get(address, "/", Host="[")[0] == 400
    assert get(address, "/", Host="localhost:8000")[0] == 200


def test_as_a_program(model_file, parallel_text):
    words = ("serve", model_file, "--port=0", "--device=cpu")
    with subprocess_of(*words, cwd=parallel_text) as running:
        start, _, rest = running.stdout.readline().partition("127.0.0.1:")
        assert start == "http://"
        try:
            address = ("127.0.0.1", int(rest.strip().strip("/")))
            assert get(address, "/?sentence=er+trinkt")[0] == 200
            running.send_signal(signal.SIGINT)
            assert running.wait(timeout=60) == 130
        finally:
            running.kill()
        assert "Ctrl-C ends the server" in running.stderr.read()


def test_a_port_that_is_taken_is_named(capsys, model_file):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        err = refused(capsys, "serve", model_file, f"--port={port}")
    assert f"error: 127.0.0.1:{port}: Address already in use" in err
