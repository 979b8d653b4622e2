"""The documents: every whole file that README or a page of docs shows is one that `sluice validate` accepts without a warning."""
import glob, os, re, subprocess, unittest
from certificates import Authority
from harness import BINARY, ROOT

# A block that is a whole file names listeners and routes; others are pieces.
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
WHOLE = (re.compile(r"^listeners:", re.MULTILINE), re.compile(r"^routes:", re.MULTILINE))


def pages():
    return [os.path.join(ROOT, "README.md"), *sorted(glob.glob(os.path.join(ROOT, "docs", "**", "*.md"), recursive=True))]


def files():
    """Each whole file: the page, its number there, and its text."""
    for page in pages():
        with open(page, encoding="utf-8") as file:
            blocks = BLOCK.findall(file.read())
        for number, text in enumerate(blocks, 1):
            if all(mark.search(text) for mark in WHOLE):
                yield os.path.relpath(page, ROOT), number, text


class Documents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # The names of files that the pages use: ca.crt, tls.crt, client.crt, their keys, sticky.keys.
        cls.authority = Authority()
        cls.authority.issue("tls", "DNS:localhost")
        cls.authority.issue("client", "DNS:client")
        with open(cls.authority.file("sticky.keys"), "w") as file:
            file.write("00112233445566778899aabbccddeeff\n")

    def test_every_whole_file_on_a_page_is_valid_and_without_warnings(self):
        count = 0
        for page, number, text in files():
            with self.subTest(page=page, block=number):
                path = self.authority.file("sluice.yaml")
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
                run = subprocess.run([BINARY, "validate", "-c", path], capture_output=True, text=True, timeout=60)
                self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
                self.assertNotIn("warning", run.stdout + run.stderr)
            count += 1
        self.assertGreater(count, 10)

    def test_every_page_for_users_shows_a_whole_file(self):
        with open(os.path.join(ROOT, "docs", "README.md"), encoding="utf-8") as file:
            table = file.read().split("## For users, by task")[1].split("\n## ")[0]
        named = {os.path.join("docs", name) for name in re.findall(r"\]\(([a-z0-9-]+\.md)\)", table)}
        self.assertGreater(len(named), 10)
        self.assertEqual(named - {page for page, _, _ in files()}, set())


if __name__ == "__main__":
    unittest.main()
