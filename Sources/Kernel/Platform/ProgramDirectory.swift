import Base
import CPlatform

/// Why a program is not run, in a sentence that says what to do.
public struct ProgramProblem: Error, Sendable, Equatable {
    public let message: String
}

/// A directory whose programs may be run. Nobody but root and the user of this process can have
/// put anything there; every file is looked at again each time before it is run.
public struct ProgramDirectory: Sendable {
    /// The real path, without links.
    public let path: String

    /// Checks a directory.
    public init(_ path: String) throws(ProgramProblem) {
        guard let real = ProgramDirectory.realPath(path) else {
            let error = SystemError("open")
            throw ProgramProblem(message: "the directory \(path) cannot be used: \(error.message)")
        }
        self.path = real
        try ProgramDirectory.check(directory: real)
        // Whoever may rename a directory above may put another in its place.
        var parent = real
        while let slash = parent.lastIndex(of: "/"), parent != "/" {
            parent = slash == parent.startIndex ? "/" : String(parent[..<slash])
            try ProgramDirectory.check(above: parent)
        }
    }

    /// The path of a program that may be run.
    ///
    /// Links are followed as long as they stay within the directory, as those of a mounted
    /// ConfigMap do.
    public func program(_ name: String) throws(ProgramProblem) -> String {
        guard ProgramDirectory.isName(name) else {
            throw ProgramProblem(
                message: "\"\(name.prefix(80))\" is no name of a program: letters, digits and "
                    + "._- without a slash")
        }
        let full = path == "/" ? "/" + name : path + "/" + name
        guard let real = ProgramDirectory.realPath(full) else {
            let error = SystemError("open")
            let advice =
                error.cause == .missing
                ? "there is no program \(name) in \(path), which --allow-commands names"
                : "\(full) cannot be run: \(error.message)"
            throw ProgramProblem(message: advice)
        }
        guard real.hasPrefix(path == "/" ? "/" : path + "/") else {
            throw ProgramProblem(
                message: "\(full) is a link to \(real), outside of the directory; put the "
                    + "program itself there")
        }
        var parent = real
        while let slash = parent.lastIndex(of: "/"), slash > parent.startIndex {
            parent = String(parent[..<slash])
            if parent == path { break }
            try ProgramDirectory.check(directory: parent)
        }
        try ProgramDirectory.check(directory: path)
        try ProgramDirectory.check(program: real)
        return real
    }

    /// Whether a text may name a program: no path, no option, nothing hidden.
    public static func isName(_ name: String) -> Bool {
        guard (1...128).contains(name.utf8.count), let first = name.utf8.first else { return false }
        return (ASCII.isAlpha(first) || ASCII.isDigit(first))
            && name.utf8.allSatisfy {
                ASCII.isAlpha($0) || ASCII.isDigit($0) || $0 == 0x2e || $0 == 0x5f || $0 == 0x2d
            }
    }

    private static func realPath(_ path: String) -> String? {
        guard let found = unsafe realpath(path, nil) else { return nil }
        defer { unsafe free(found) }
        return unsafe String(cString: found)
    }

    private static func facts(_ path: String) throws(ProgramProblem) -> stat {
        var info = stat()
        guard unsafe stat(path, &info) == 0 else {
            throw ProgramProblem(message: "\(path): \(SystemError("stat").message)")
        }
        return info
    }

    private static func check(directory path: String) throws(ProgramProblem) {
        let info = try facts(path)
        guard info.st_mode & mode_t(S_IFMT) == mode_t(S_IFDIR) else {
            throw ProgramProblem(message: "\(path) is no directory")
        }
        try checkOwner(path, info, "go-w")
    }

    private static func check(program path: String) throws(ProgramProblem) {
        let info = try facts(path)
        guard info.st_mode & mode_t(S_IFMT) == mode_t(S_IFREG) else {
            throw ProgramProblem(message: "\(path) is no plain file")
        }
        try checkOwner(path, info, "go-w")
        guard unsafe faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0 else {
            throw ProgramProblem(message: "\(path) is not executable for this user; chmod +x it")
        }
    }

    /// Owned by root or this user, and for nobody else to write; on a file system that is mounted
    /// to be read alone nobody writes whatever the mode says.
    private static func checkOwner(
        _ path: String, _ info: stat, _ advice: String
    ) throws(ProgramProblem) {
        guard info.st_uid == 0 || info.st_uid == geteuid() else {
            throw ProgramProblem(
                message: "\(path) belongs to user \(info.st_uid); it has to belong to root or to "
                    + "the user that Sluice runs as (\(geteuid()))")
        }
        if info.st_mode & 0o022 == 0 || isReadOnly(path) { return }
        throw ProgramProblem(
            message: "others than its owner may write \(path) (mode "
                + "\(String(info.st_mode & 0o7777, radix: 8))); chmod \(advice) it")
    }

    private static func check(above path: String) throws(ProgramProblem) {
        let info = try facts(path)
        let isSticky = info.st_mode & mode_t(S_ISVTX) != 0
        guard info.st_mode & 0o002 != 0, !isSticky, !isReadOnly(path) else { return }
        throw ProgramProblem(
            message: "everybody may write \(path), and so replace the directory of the programs "
                + "below it; chmod o-w it, or use another directory")
    }

    private static func isReadOnly(_ path: String) -> Bool {
        var info = statvfs()
        return unsafe statvfs(path, &info) == 0 && info.f_flag & UInt(ST_RDONLY) != 0
    }
}
