"""What is done with objects as a whole."""

import os
import threading
from urllib.parse import quote

from .support import BUCKET, OBJECTS, Case, crc32c_of, path_of


class Objects(Case):
    def test_preconditions(self):
        def conditions(generation):
            """Those that hold, and those that don't, of an object never patched."""
            other = generation + 1
            holds = [f"ifGenerationMatch={generation}", f"ifGenerationNotMatch={other}"]
            fails = [f"ifGenerationMatch={other}", f"ifGenerationNotMatch={generation}"]
            holds += ["ifMetagenerationMatch=1", "ifMetagenerationNotMatch=2"]
            fails += ["ifMetagenerationMatch=2", "ifMetagenerationNotMatch=1"]
            return holds, fails + ["ifGenerationMatch=0"]

        self.created("source")
        source = path_of("source")
        compose, into = {"sourceObjects": [{"name": "source"}]}, path_of("target") + "/compose"
        target = path_of("target").removeprefix("/storage/v1")
        requests = (
            lambda query: self.emulator.put("target", b"new", query="&" + query),
            lambda query: self.emulator.ask("GET", path_of("target") + "?" + query),
            lambda query: self.emulator.json("PATCH", path_of("target") + "?" + query, {}),
            lambda query: self.emulator.json("POST", f"{source}/rewriteTo{target}?{query}"),
            lambda query: self.emulator.json("POST", f"{into}?{query}", compose),
            lambda query: self.emulator.ask("DELETE", path_of("target") + "?" + query),
        )
        for number, request in enumerate(requests):
            with self.subTest(number):
                fresh = int(self.created("target")["generation"])
                _, fails = conditions(fresh)
                for query in fails:
                    reading = number == 1 and "NotMatch" in query
                    self.assertEqual(request(query).status, 304 if reading else 412, query)
                self.assertEqual(self.generation("target"), fresh)
                for at in range(4):
                    fresh = int(self.created("target")["generation"])
                    query = conditions(fresh)[0][at]
                    self.assertIn(request(query).status, (200, 204), query)
        self.refused(self.emulator.put("none", b"", query="&ifGenerationMatch=7"), 412)
        self.refused(self.emulator.put("none", b"", query="&ifMetagenerationMatch=1"), 412)
        self.assertEqual(self.emulator.put("none", b"", query="&ifGenerationMatch=0").status, 200)
        query = f"ifSourceGenerationMatch={self.generation('source')}"
        path = f"{source}/rewriteTo{target}?{query}"
        self.assertEqual(self.emulator.json("POST", path).status, 200)
        self.refused(self.emulator.json("POST", path + "1"), 412, "conditionNotMet")
        missing = path_of("missing") + "?ifGenerationMatch=7"
        for method in ("GET", "PATCH", "DELETE"):
            self.refused(self.emulator.json(method, missing, {}), 404, "notFound")
        self.refused(self.emulator.put("none", b"", query="&ifGenerationMatch=x"), 400)

    def test_patch(self):
        metadata = {"metadata": {"a": "1", "b": "2"}, "customTime": "2026-01-02T00:00:00Z"}
        made = self.created("patched", metadata=metadata)
        change = {"metadata": {"a": None, "c": "3"}, "contentType": "x/y", "cacheControl": "z"}
        change["customTime"] = "2026-01-02T00:00:00.5Z"
        path = f"{path_of('patched')}?generation={made['generation']}"
        answer = self.emulator.json("PATCH", path, change)
        self.assertEqual(answer.status, 200, answer.body)
        new = answer.json
        self.assertEqual(new["metadata"], {"b": "2", "c": "3"})
        self.assertEqual((new["contentType"], new["cacheControl"]), ("x/y", "z"))
        self.assertEqual((new["metageneration"], new["generation"]), ("2", made["generation"]))
        self.assertGreater(new["updated"], made["updated"])
        self.assertEqual(new["timeCreated"], made["timeCreated"])
        self.assertEqual(new["customTime"], change["customTime"])
        self.assertNotEqual(new["etag"], made["etag"])
        self.assertEqual(new, self.emulator.ask("GET", path).json)
        for wrong in (None, "2026-01-01T00:00:00Z", "yesterday"):
            answer = self.emulator.json("PATCH", path, {"customTime": wrong})
            self.refused(answer, 400, "invalid")
        gone = self.emulator.json("PATCH", path, {"metadata": None, "cacheControl": None}).json
        self.assertFalse({"metadata", "cacheControl"} & set(gone))
        self.assertEqual(self.emulator.json("PATCH", path + "1", {}).status, 404)

    def test_delete(self):
        made = self.created("deleted")
        path = path_of("deleted")
        self.assertEqual(self.emulator.ask("DELETE", path + "?generation=1").status, 404)
        answer = self.emulator.ask("DELETE", f"{path}?generation={made['generation']}")
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.refused(self.emulator.ask("DELETE", path), 404, "notFound")
        self.assertGreater(int(self.created("deleted")["generation"]), int(made["generation"]))

    def test_rewrite(self):
        metadata = {"metadata": {"k": "v"}, "contentType": "a/b", "cacheControl": "c"}
        made = self.created("dir/source", b"moved", metadata=metadata)
        self.emulator.json("PATCH", path_of("dir/source"), {})
        target = path_of("dir/target").removeprefix("/storage/v1")
        path = f"{path_of('dir/source')}/rewriteTo{target}"
        answer = self.emulator.json("POST", path).json
        new = answer["resource"]
        self.assertIs(answer["done"], True)
        self.assertEqual(answer["objectSize"], "5")
        self.assertEqual({key: new[key] for key in metadata}, metadata)
        self.assertGreater(int(new["generation"]), int(made["generation"]))
        self.assertEqual((new["name"], new["metageneration"]), ("dir/target", "1"))
        self.assertEqual((new["md5Hash"], new["crc32c"]), (made["md5Hash"], made["crc32c"]))
        self.assertEqual(self.emulator.ask("GET", f"/{BUCKET}/dir/target").body, b"moved")
        other = self.emulator.json("POST", path, {"contentType": "x/y"}).json["resource"]
        self.assertEqual((other["contentType"], other.get("metadata")), ("x/y", None))
        path = f"{path_of('missing')}/rewriteTo{target}"
        self.refused(self.emulator.json("POST", path), 404, "notFound")

    def test_compose(self):
        contents = [os.urandom(length) for length in (0, 1, 1000, 4097)]
        made = [self.created(f"part/{i}", content) for i, content in enumerate(contents)]
        sources = [{"name": one["name"], "generation": one["generation"]} for one in made]
        sources[1]["objectPreconditions"] = {"ifGenerationMatch": sources[1]["generation"]}
        destination = {"contentType": "a/b", "cacheControl": "c", "metadata": {"k": "v"}}
        body = {"sourceObjects": sources, "destination": destination}
        path = path_of("whole") + "/compose"
        whole = self.emulator.json("POST", path, body).json
        content = b"".join(contents)
        self.assertEqual({key: whole[key] for key in destination}, destination)
        self.assertEqual((whole["componentCount"], whole["size"]), (4, str(len(content))))
        self.assertEqual(whole["crc32c"], crc32c_of(content))
        self.assertNotIn("md5Hash", whole)
        read = self.emulator.ask("GET", f"/{BUCKET}/whole")
        self.assertEqual(read.body, content)
        self.assertEqual(read.headers["x-goog-hash"], "crc32c=" + whole["crc32c"])
        headers = {"Range": "bytes=1-1001"}
        part = self.emulator.ask("GET", f"/{BUCKET}/whole", headers=headers)
        self.assertEqual(part.body, content[1:1002])
        twice = {"sourceObjects": [{"name": "whole"}, {"name": "part/1"}, {"name": "whole"}]}
        again = self.emulator.json("POST", path, twice).json
        self.assertEqual(again["componentCount"], 9)
        self.assertEqual(again["crc32c"], crc32c_of(content + contents[1] + content))
        for sources, status in (
            ([{"name": "part/0"}] * 32, 200),
            ([{"name": "part/0"}] * 33, 400),
            ([], 400),
            ([{"name": "missing"}], 404),
            ([{"name": "part/0", "generation": "1"}], 404),
            ([{"name": "part/0", "objectPreconditions": {"ifGenerationMatch": "1"}}], 412),
        ):
            answer = self.emulator.json("POST", path, {"sourceObjects": sources})
            self.refused(answer, status)

    def test_list(self):
        names = [f"list/{i:02}" for i in range(25)] + ["list", "listing", "other"]
        for name in reversed(names):
            self.created(name, metadata={"metadata": {"k": name}})
        items, token = [], ""
        for pages in (1, 2, 3):
            query = f"?prefix=list/&maxResults=10{token}"
            answer = self.emulator.ask("GET", OBJECTS + query).json
            self.assertEqual(len(answer["items"]), 10 if pages < 3 else 5)
            items += answer["items"]
            if pages < 3:
                token = "&pageToken=" + quote(answer["nextPageToken"], "")
        self.assertNotIn("nextPageToken", answer)
        self.assertEqual([one["name"] for one in items], names[:25])
        self.assertEqual(items[3], self.emulator.ask("GET", path_of("list/03")).json)
        query = "?prefix=list&startOffset=list/24"
        answer = self.emulator.ask("GET", OBJECTS + query).json
        self.assertEqual([one["name"] for one in answer["items"]], ["list/24", "listing"])
        self.assertNotIn("items", self.emulator.ask("GET", OBJECTS + "?prefix=none").json)
        answer = self.emulator.ask("GET", OBJECTS + "?prefix=list&delimiter=/").json
        self.assertEqual(answer["prefixes"], ["list/"])
        self.assertEqual([one["name"] for one in answer["items"]], ["list", "listing"])

    def test_many_at_once(self):
        """Of many who would make the same object, one does; generations are in order."""
        results, errors = [], []

        def work(worker):
            try:
                for i in range(10):
                    answer = self.emulator.put(f"race/{i}", b"x" * worker, "&ifGenerationMatch=0")
                    results.append((i, answer.status))
                    self.emulator.put(f"own/{worker}", b"y")
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        self.assertEqual({status for _, status in results}, {200, 412})
        self.assertEqual(sorted(i for i, status in results if status == 200), list(range(10)))
