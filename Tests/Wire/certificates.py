"""Certificates of the tests, made by the openssl command in a folder of their own."""
import os, subprocess, tempfile


class Authority:
    def __init__(self, name="Test CA"):
        self.folder = tempfile.TemporaryDirectory()
        self.path = self.folder.name
        self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                 "-subj", f"/CN={name}", "-keyout", self.file("ca.key"), "-out", self.ca)

    def run(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    def file(self, name):
        return os.path.join(self.path, name)

    @property
    def ca(self):
        return self.file("ca.crt")

    def issue(self, name, alternatives, subject=None, days=10, key="P-256"):
        """Makes NAME.crt and NAME.key; returns their paths. `days` below 0: it has expired."""
        kind = ["-newkey", "rsa:2048"] if key == "rsa" else ["-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{key}"]
        self.run("req", *kind, "-nodes", "-subj", f"/CN={subject or name}", "-keyout", self.file(name + ".key"),
                 "-out", self.file(name + ".csr"))
        with open(self.file(name + ".ext"), "w") as file:
            file.write(f"subjectAltName={alternatives}\n")
        self.run("x509", "-req", "-in", self.file(name + ".csr"), "-CA", self.ca, "-CAkey", self.file("ca.key"),
                 "-CAcreateserial", "-out", self.file(name + ".crt"), "-days", str(days), "-extfile", self.file(name + ".ext"))
        return self.file(name + ".crt"), self.file(name + ".key")

    def close(self):
        self.folder.cleanup()
