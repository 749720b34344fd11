"""What the addresses answer, held against the library's own search."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from semicon_fast import models
from semicon_fast.data import transforms
from semicon_fast.data.decode import decode
from semicon_fast.search import part_distances
from semicon_fast.search.gallery import Gallery
from semicon_fast.serve.handlers import HandlerContext
from semicon_fast.serve.searcher import Maps

PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def gallery(folder):
    return Gallery.open(folder)


@pytest.fixture
def answer(server):
    def answer(method, path, body=None, headers=None):
        status, _, content = server.ask(method, path, body, headers or (PNG if body else None))
        assert status == 200, content
        return json.loads(content)

    return answer


def brute(gallery, code, weights=None, besides=None):
    """(number, score, by_part) of the whole gallery, by plain loops."""
    groups = gallery.bit_groups
    split = part_distances(gallery.codes, code[None], gallery.bits, groups)
    factors = [1] * len(groups) if weights is None else weights
    scores = (split * np.array(factors)).sum(1)
    order = sorted(range(len(gallery)), key=lambda i: (scores[i], i))
    return [(i, int(scores[i]), split[i].tolist()) for i in order if i != besides]


def shown(hits):
    return [(h["number"], h["score"], h["by_part"]) for h in hits]


def test_the_gallery_says_what_it_is(answer):
    about = answer("GET", "/api/gallery")
    assert (about["count"], about["bits"], about["network"]) == (40, 24, "semicon")
    assert about["parts"] == [
        {"name": "global", "bits": 12},
        *({"name": f"part{i}", "bits": 4} for i in (1, 2, 3)),
    ]
    assert about["has_maps"] and about["max_bytes"] == 2**20 and about["max_pixels"] == 10**6


@pytest.mark.parametrize(
    "query, weights",
    [
        ("", None),
        ("&part=part2", [0, 0, 1, 0]),
        ("&weights=0,3,0,1", [0, 3, 0, 1]),
        ("&weights=9,9,9,9", [9, 9, 9, 9]),
        ("&weights=1,1,1,1", None),
    ],
)
def test_an_image_finds_what_the_library_finds(answer, gallery, photos, query, weights):
    path = photos / "odd" / "07.jpg"
    number = gallery.images.index(str(path.resolve()))
    found = answer("POST", f"/api/search?k=40{query}", path.read_bytes())
    assert found["parts"] == ["global", "part1", "part2", "part3"]
    assert shown(found["hits"]) == brute(gallery, gallery.codes[number], weights)
    assert all(hit["distance"] == sum(hit["by_part"]) for hit in found["hits"])
    hit = next(h for h in found["hits"] if h["number"] == number)
    assert (hit["name"], hit["label"], hit["distance"]) == ("07.jpg", "odd", 0)


@pytest.mark.parametrize("query, weights", [("", None), ("&part=global", [1, 0, 0, 0])])
def test_a_number_finds_its_neighbours_without_itself(answer, gallery, query, weights):
    for number in (0, 17, 39):
        found = answer("GET", f"/api/images/{number}/neighbours?k=9{query}")
        assert shown(found["hits"]) == brute(gallery, gallery.codes[number], weights, number)[:9]


def test_the_first_frame_of_an_animation_counts(answer, make_picture, make_file):
    still = make_picture(100)
    more = {"save_all": True, "append_images": [make_picture(101), make_picture(102)]}
    expected = answer("POST", "/api/search", make_file(still))["hits"]
    lossless = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}}
    for kind, options in lossless.items():
        moving = make_file(still, kind, **more, **options)
        assert answer("POST", "/api/search", moving)["hits"] == expected, kind
    assert answer("POST", "/api/search", make_file(still, "GIF", **more))["hits"]


def test_a_picture_is_a_small_jpeg_without_metadata(server, gallery, photos):
    exif = Image.Exif()
    exif[0x010E] = "where it was taken"
    path = photos / "even" / "04.gif"
    number = gallery.images.index(str(path.resolve()))
    status, headers, content = server.ask("GET", f"/api/images/{number}?side=16")
    assert status == 200 and headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "JPEG" and image.size == (16, 16) and not image.getexif()
    again = server.ask(
        "GET", f"/api/images/{number}?side=16", headers={"If-None-Match": headers["etag"]}
    )
    assert again[0] == 304 and again[2] == b""


def test_pages_of_the_gallery_are_complete(answer):
    first, second = (answer("GET", f"/api/images?start={s}&count=25") for s in (0, 25))
    assert [p["number"] for p in first["images"] + second["images"]] == list(range(40))
    assert answer("GET", "/api/images?start=40")["images"] == []
    assert answer("GET", f"/api/images?start={2**61}")["images"] == []


def test_maps_are_the_networks(answer, gallery, network_file, photos):
    path = photos / "even" / "08.webp"
    number = gallery.images.index(str(path.resolve()))
    sent = answer("POST", "/api/maps", path.read_bytes())
    assert answer("GET", f"/api/images/{number}/maps") == sent
    network = models.load(network_file)
    batch = transforms.from_config(network.preprocess)([decode(path)])
    maps = network(batch).maps[0].detach()
    assert sent["parts"] == ["part1", "part2", "part3"] and sent["box"] == [0, 0, 1, 1]
    assert (sent["height"], sent["width"]) == tuple(maps.shape[1:])
    assert max(sent["peaks"]) > 0
    for m, values, peak in zip(maps, sent["values"], sent["peaks"], strict=True):
        assert peak == pytest.approx(float(m.max()), rel=1e-4, abs=1e-6)
        expected = (m / max(float(m.max()), 1e-12)).flatten()
        assert np.abs(np.array(values) - expected.numpy()).max() < 2e-3


def test_openapi_describes_every_address(answer):
    described = answer("GET", "/openapi.json")
    assert described["openapi"].startswith("3.") and set(described["paths"]) == {
        "/api/gallery", "/api/images", "/api/images/{number}", "/api/search", "/api/maps",
        "/api/images/{number}/neighbours", "/api/images/{number}/maps",
    }  # fmt: skip
    search = described["paths"]["/api/search"]["post"]
    assert "image/*" in search["requestBody"]["content"]
    assert {p["name"] for p in search["parameters"]} == {"k", "part", "weights"}
    assert search["responses"]["200"]["content"]["application/json"]["schema"]
    for address in described["paths"].values():
        for operation in address.values():
            errors = {s: r for s, r in operation["responses"].items() if s >= "400"}
            assert {"400", "403", "405", "422", "431", "500", "503"} <= errors.keys()
            for response in errors.values():  # FastAPI's own form of errors is not ours
                schema = response["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Problem"}


@pytest.mark.parametrize("path", ["/", "/app.js", "/api/gallery", "/api/images/0", "/nothing"])
def test_every_answer_has_strict_headers(server, path):
    _, headers, _ = server.ask("GET", path)
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert not [name for name in headers if name.lower().startswith("access-control")]
    assert "server" not in headers


def test_without_a_model_numbers_still_search(modelless, make_file, make_picture):
    about = json.loads(modelless.ask("GET", "/api/gallery")[2])
    assert about["network"] is None and not about["has_maps"]
    assert len(json.loads(modelless.ask("GET", "/api/images/3/neighbours?k=5")[2])["hits"]) == 5
    for method, path in (
        ("POST", "/api/search"),
        ("POST", "/api/maps"),
        ("GET", "/api/images/3/maps"),
    ):
        body = make_file(make_picture(0)) if method == "POST" else None
        status, _, content = modelless.ask(method, path, body, PNG)
        assert status == 409 and "no model" in json.loads(content)["detail"]


@pytest.mark.parametrize(
    "parts, maps, wanted",
    [
        ({"global": 8, "part1": 2, "part2": 2}, 2, ["part1", "part2"]),
        ({"global": 12}, 4, ["code"] * 4),
        ({"network1": 12, "network2": 12}, 6, ["code"] * 6),
    ],
)
def test_every_map_has_a_part_to_be_named_after(parts, maps, wanted):
    """ExchNet and A2-Net have one code of all maps, an ensemble several maps a network."""
    found = Maps(np.ones((maps, 2, 2), np.float32), [1.0] * maps, (0.0, 0.0, 1.0, 1.0))
    handlers = SimpleNamespace(searcher=SimpleNamespace(parts=parts))
    sent = HandlerContext.maps_response(handlers, found)
    assert sent.parts == wanted and len(sent.values) == maps
