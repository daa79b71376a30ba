"""Who may do what, and when."""

import json
import stat
import time
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from .signing import Signing
from .support import BUCKET, EMAIL, FLAVOR, OBJECTS, UPLOAD, path_of


class Accounts(Signing):
    def test_key_files(self):
        content = json.loads(self.account_file.read_text())
        self.assertEqual((content["type"], content["client_email"]), ("service_account", EMAIL))
        self.assertTrue(content["private_key"].startswith("-----BEGIN PRIVATE KEY-----\n"))
        pem = Path(f"{self.account_file}.pem")
        self.assertEqual(pem.read_text(), content["private_key"])
        for file in (self.account_file, pem):
            self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        expected = {"project_id", "private_key_id", "client_id", "token_uri", "auth_uri"}
        self.assertLessEqual(expected, set(content))

    def test_tokens_that_accounts_sign(self):
        good = self.jwt()
        header, claims, signature = good.split(".")
        other = "A" if signature[5] != "A" else "B"
        changed = ".".join([header, claims, signature[:5] + other + signature[6:]])
        media = f"{UPLOAD}?uploadType=media&name=a"
        for path in (OBJECTS, f"/b/{BUCKET}/o", media, f"/download{OBJECTS}/a"):
            method = "POST" if "upload" in path else "GET"
            for headers in (
                {},
                {"Authorization": "Basic YTpi"},
                self.bearer("nonsense"),
                self.bearer(changed),
                self.bearer(self.jwt(expires=-1)),
                self.bearer(self.jwt(issued=700)),
                self.bearer(self.jwt(iss="me@example.org", sub="me@example.org")),
            ):
                self.refused(self.emulator.ask(method, path, headers=headers), 401, "authError")
        for token in (good, self.jwt(issued=500), self.jwt(iss="else")):
            answer = self.emulator.ask("GET", OBJECTS, headers=self.bearer(token))
            self.assertEqual(answer.status, 200)

    def test_the_metadata_server(self):
        base = "/computeMetadata/v1/instance/service-accounts/default"
        for path in ("/", "/computeMetadata/v1/", f"{base}/token", f"{base}/email"):
            self.assertEqual(self.emulator.ask("GET", path).status, 403)
            answer = self.emulator.ask("GET", path, headers=FLAVOR)
            self.assertEqual((answer.status, answer.headers["Metadata-Flavor"]), (200, "Google"))
        ask = lambda path: self.emulator.ask("GET", path, headers=FLAVOR)  # noqa: E731
        self.assertEqual(ask(f"{base}/email").body, EMAIL.encode())
        self.assertEqual(ask(f"{base}/?recursive=true").json["email"], EMAIL)
        for name in ("universe-domain", "universe_domain"):
            self.assertEqual(ask(f"/computeMetadata/v1/universe/{name}").body, b"googleapis.com")
        token = ask(f"{base}/token?scopes=a").json
        self.assertEqual((token["expires_in"], token["token_type"]), (3600, "Bearer"))
        headers = self.bearer(token["access_token"])
        self.assertEqual(self.emulator.ask("GET", OBJECTS, headers=headers).status, 200)

    def test_permissions_are_told(self):
        path = f"/storage/v1/b/{BUCKET}/iam/testPermissions?permissions="
        path += "storage.objects.get&permissions=storage.buckets.get"
        answer = self.emulator.ask("GET", path, headers=self.bearer())
        self.assertEqual(answer.json["permissions"], ["storage.objects.get"])

    def test_signed_urls(self):
        self.created("dir/a b+c~ä", b"signed")
        get = lambda *a, **b: self.code(self.url("dir/a b+c~ä", *a, **b))  # noqa: E731
        self.assertEqual(get(), (200, ""))
        self.assertEqual(get(host="{}:{}".format(*self.emulator.address)), (200, ""))
        self.assertEqual(get(age=-600), (200, ""))
        self.assertEqual(get(age=301), (403, "ExpiredToken"))
        self.assertEqual(get(age=-1000), (403, "RequestTimeTooSkewed"))
        for wrong in ({"host": "example.org"}, {"method": "PUT"}, {"email": "me@example.org"}):
            self.assertEqual(get(**wrong), (403, "SignatureDoesNotMatch"), wrong)
        typed = self.url("dir/a b+c~ä", extra={"response-content-type": "x/y z"})
        answer = self.emulator.ask("GET", typed)
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (200, "x/y z"))
        self.assertEqual(self.code(f"/{BUCKET}/dir/a"), (403, "AccessDenied"))
        self.assertEqual(self.code(self.url("none")), (404, "NoSuchKey"))
        good = self.url("dir/a b+c~ä")
        other = "0" if good[-1] != "0" else "1"
        for changed in (
            good[:-1] + other,
            good + "&generation=0",
            good.replace("Expires=300", "Expires=3000"),
            good.replace("/dir/a", "/dir/b"),
            good.replace("X-Goog-Date", "X-Goog-Dat"),
        ):
            self.assertEqual(self.code(changed), (403, "SignatureDoesNotMatch"), changed)
        head = self.url("dir/a b+c~ä", method="HEAD")
        self.assertEqual(self.emulator.ask("HEAD", head).status, 200)
        told = {"x-one": "1  2"}
        url = self.url("dir/a b+c~ä", x_one="1 2")
        self.assertEqual(self.code(url, told), (200, ""))
        self.assertEqual(self.code(url), (403, "SignatureDoesNotMatch"))


class Permissions(Signing):
    held = "storage.objects.create,storage.objects.list"
    arguments = (*Signing.arguments, "--permissions", held)

    def test_each_is_needed(self):
        made = self.created("once")
        body = {"sourceObjects": [{"name": "once"}]}
        rewrite = path_of("once") + "/rewriteTo" + path_of("twice").removeprefix("/storage/v1")
        bearer = self.bearer()
        for action, answer in (
            ("delete", self.emulator.put("once", b"", headers=bearer)),
            ("delete", self.emulator.ask("DELETE", path_of("once"), headers=bearer)),
            ("get", self.emulator.ask("GET", path_of("once"), headers=bearer)),
            ("get", self.emulator.ask("GET", path_of("once") + "?alt=media", headers=bearer)),
            ("get", self.emulator.json("POST", rewrite, headers=bearer)),
            ("get", self.emulator.json("POST", path_of("x") + "/compose", body, bearer)),
            ("update", self.emulator.json("PATCH", path_of("once"), {}, bearer)),
        ):
            self.refused(answer, 403, "forbidden")
            self.assertEqual(
                answer.json["error"]["message"],
                f"{EMAIL} does not have storage.objects.{action} access to the Google Cloud "
                f"Storage object. Permission 'storage.objects.{action}' denied on resource "
                "(or it may not exist).",
            )
        self.assertEqual(self.code(self.url("once")), (403, "AccessDenied"))
        listed = self.emulator.ask("GET", OBJECTS, headers=bearer).json["items"]
        self.assertEqual(listed, [made])
        path = f"/storage/v1/b/{BUCKET}/iam/testPermissions?permissions=storage.objects.get"
        self.assertNotIn("permissions", self.emulator.ask("GET", path, headers=bearer).json)
        self.refused(self.emulator.ask("GET", "/storage/v1/b/other/o", headers=bearer), 404)


class Clocks(Signing):
    arguments = (*Signing.arguments, "--clock-offset", "420", "--token-lifetime", "1")

    def test_the_clock_is_ahead(self):
        answer = self.emulator.ask("GET", OBJECTS, headers=self.bearer())
        date = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        self.assertAlmostEqual(date - time.time(), 420, delta=5)
        made = self.created("ahead")
        moment = datetime.fromisoformat(made["updated"]).timestamp()
        self.assertAlmostEqual(moment - time.time(), 420, delta=5)
        self.assertEqual(self.code(self.url("ahead")), (403, "ExpiredToken"))
        self.assertEqual(self.code(self.url("ahead", expires=500)), (200, ""))
        answer = self.emulator.ask("GET", OBJECTS, headers=self.bearer(self.jwt(expires=400)))
        self.refused(answer, 401, "authError")

    def test_tokens_end(self):
        path = "/computeMetadata/v1/instance/service-accounts/default/token"
        token = self.emulator.ask("GET", path, headers=FLAVOR).json
        self.assertEqual(token["expires_in"], 1)
        headers = self.bearer(token["access_token"])
        self.assertEqual(self.emulator.ask("GET", OBJECTS, headers=headers).status, 200)
        time.sleep(1.1)
        self.refused(self.emulator.ask("GET", OBJECTS, headers=headers), 401, "authError")
