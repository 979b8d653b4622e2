import Base
import Configuration
import Files
import Platform
import Rollout

/// Conditions in front of a stage: `when`, windows of the week, hooks.
extension ControlLoop {
    /// Answers whether a stage's `when` holds.
    func answerWhen(_ stage: Int, _ driver: RolloutDriver) {
        guard let run = driver.machine?.state.run else { return }
        guard let text = run.plan.stages[stage].when else {
            return tell(driver, .when(stage: stage, holds: true, text: ""))
        }
        let values = RolloutValues(run, stage: stage)
        do throws(Condition.Failure) {
            switch try Condition(text).outcome({ values[$0] }) {
            case .yes:
                tell(driver, .when(stage: stage, holds: true, text: "\(text) holds"))
            case .no:
                tell(driver, .when(stage: stage, holds: false, text: "\(text) does not hold"))
            case .unknown(let name):
                tell(
                    driver,
                    .when(
                        stage: stage, holds: nil,
                        text: "\(text) asks for \(name), which has no value; after sluice rollout "
                            + "abort \(run.plan.name), sluice rollout start \(run.plan.name) --set "
                            + "\(name)=… begins with one"))
            }
        } catch {
            tell(driver, .when(stage: stage, holds: nil, text: "\(text): \(error.message)"))
        }
    }

    /// Answers whether a stage may be entered by the clock on the wall.
    func answerWindow(_ stage: Int, _ driver: RolloutDriver) {
        guard let plan = driver.machine?.state.run.plan else { return }
        let windows = plan.stages[stage].windows
        if windows.isEmpty {
            return tell(driver, .window(stage: stage, isOpen: true, text: ""))
        }
        let now = SystemClock.wall()
        var opening: WallTime?
        for text in windows {
            guard let window = try? TimeWindow(text),
                let zone = window.zone == "UTC" ? .utc : file.zones.rules[window.zone]
            else {
                return tell(
                    driver,
                    .window(
                        stage: stage, isOpen: false,
                        text: "\(text) cannot be read on this machine: is tzdata installed?"))
            }
            if window.isOpen(at: now, in: zone) {
                return tell(driver, .window(stage: stage, isOpen: true, text: "\(text) is open"))
            }
            if let next = window.nextOpening(from: now, in: zone),
                opening.map({ next.microseconds < $0.microseconds }) ?? true
            {
                opening = next
            }
        }
        var words = "closed: " + windows.joined(separator: ", ")
        if let opening {
            words += "; opens at " + RolloutWords.time(opening)
        }
        tell(driver, .window(stage: stage, isOpen: false, text: words))
    }
}

/// Values of the names that `when`, `match` and templates know.
struct RolloutValues {
    private(set) var all: [String: String] = [:]

    init(_ run: RolloutRun, stage: Int) {
        all["service"] = run.plan.service
        all["rollout"] = run.plan.name
        all["canary"] = run.plan.canary
        all["stable"] = run.stable
        all["revision"] = run.canaryRevision
        if run.plan.stages.indices.contains(stage) {
            all["stage"] = run.plan.stages[stage].name
        }
        for setting in run.settings { all[setting.name] = setting.value }
    }

    subscript(_ name: String) -> String? { all[name] }
}
