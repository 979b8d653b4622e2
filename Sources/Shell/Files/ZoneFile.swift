import Base
import Configuration
import Platform
import Rollout

/// The files of the system's tz database, where the windows of plans have their time zones from.
public enum ZoneFile {
    /// Why a zone's rules cannot be had, and what to do.
    public struct Failure: Error, Sendable {
        public var text: String
        public var hint: String
    }

    /// The folder of the database.
    public static let folder = "/usr/share/zoneinfo"

    /// Reads the rules of a zone.
    ///
    /// - Parameters:
    ///   - zone: a name that `ZoneName.isValid` takes.
    ///   - folder: where the files are.
    public static func load(
        _ zone: String, from folder: String = ZoneFile.folder
    ) -> Result<ZoneRules, Failure> {
        // Known without any file.
        if zone == "UTC" { return .success(.utc) }
        guard ZoneName.isValid(zone) else {
            return .failure(
                Failure(
                    text: "\"\(zone)\" is no time zone", hint: "write Europe/Berlin, for example"))
        }
        let path = "\(folder)/\(zone)"
        do throws(SystemError) {
            let bytes = try Files.readPlain(path, bytesMax: ZoneRules.bytesMax)
            do throws(ZoneRules.Failure) {
                return .success(try ZoneRules(bytes))
            } catch {
                return .failure(
                    Failure(
                        text: "\(path) cannot be used: \(error.message)",
                        hint: "write another zone, or install tzdata anew"))
            }
        } catch {
            let isThere = (try? Files.readPlain("\(folder)/Europe/London", bytesMax: 65_536)) != nil
            return .failure(
                Failure(
                    text: isThere
                        ? "there is no time zone named \"\(zone)\""
                        : "the time zone \"\(zone)\" cannot be read: \(error.message)",
                    hint: isThere
                        ? "names are as in Europe/Berlin, America/New_York, UTC; "
                            + "ls \(folder) lists them"
                        : "install the system's tz database (Debian: apt-get install tzdata), or "
                            + "write UTC"))
        }
    }

    /// The rules of all zones that the windows of a configuration name, by their names.
    static func load(
        _ document: Document, _ errors: inout [ConfigurationError]
    ) -> PlanZones {
        var rules = ["UTC": ZoneRules.utc]
        var bad: Set<String> = []
        for place in document.rollouts?.zones ?? []
        where rules[place.text] == nil && !bad.contains(place.text) {
            switch load(place.text) {
            case .success(let found): rules[place.text] = found
            case .failure(let failure):
                bad.insert(place.text)
                errors.append(
                    ConfigurationError(failure.text, at: place.mark, hint: failure.hint))
            }
        }
        return PlanZones(rules)
    }
}
