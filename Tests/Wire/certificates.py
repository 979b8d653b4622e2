"""Certificates of the tests, made by the openssl command in a folder of their own."""
import os, subprocess, tempfile


class Authority:
    def __init__(self, name="Test CA"):
        self.folder = tempfile.TemporaryDirectory()
        self.path = self.folder.name
        self.run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "365",
                 "-subj", f"/CN={name}", "-keyout", self.file("ca.key"), "-out", self.ca)

    def run(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    def file(self, name):
        return os.path.join(self.path, name)

    @property
    def ca(self):
        return self.file("ca.crt")

    def issue(self, name, alternatives, subject=None, days=90, key="P-256", begins=None):
        """Makes NAME.crt and NAME.key; returns their paths. `days` below 0: it has expired. `begins`: when it is valid
        first, as 20300101000000Z."""
        kind = ["-newkey", "rsa:2048"] if key == "rsa" else ["-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{key}"]
        self.run("req", *kind, "-nodes", "-subj", f"/CN={subject or name}", "-keyout", self.file(name + ".key"),
                 "-out", self.file(name + ".csr"))
        with open(self.file(name + ".ext"), "w") as file:
            file.write(f"subjectAltName={alternatives}\n")
        if begins:
            self.sign_later(name, begins)
        else:
            self.run("x509", "-req", "-in", self.file(name + ".csr"), "-CA", self.ca, "-CAkey", self.file("ca.key"),
                     "-CAcreateserial", "-out", self.file(name + ".crt"), "-days", str(days), "-extfile", self.file(name + ".ext"))
        return self.file(name + ".crt"), self.file(name + ".key")

    def sign_later(self, name, begins):
        """`openssl x509` of Debian 12 has no option for the first day; `openssl ca` has."""
        with open(self.file("ca.cnf"), "w") as file:
            file.write(f"[ca]\ndefault_ca=own\n[own]\ndatabase={self.file('index')}\nnew_certs_dir={self.path}\n"
                       "default_md=sha256\npolicy=any\nrand_serial=yes\n[any]\ncommonName=supplied\n")
        open(self.file("index"), "w").close()
        self.run("ca", "-batch", "-config", self.file("ca.cnf"), "-in", self.file(name + ".csr"), "-cert", self.ca,
                 "-keyfile", self.file("ca.key"), "-out", self.file(name + ".crt"), "-startdate", begins,
                 "-enddate", "20490101000000Z", "-extfile", self.file(name + ".ext"), "-notext")

    def encrypt(self, key, name):
        """The key once more, behind a passphrase; returns its path."""
        self.run("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", self.file(name))
        return self.file(name)

    def close(self):
        self.folder.cleanup()
