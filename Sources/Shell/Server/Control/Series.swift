import Base
import Configuration
import Files
import Platform
import Telemetry

// The series of what is gone: how long they are shown, and when their memory is used again.

extension ControlLoop {
    /// A configuration is in force: the series that it does not name are gone.
    func noteSeries(_ census: SeriesRetention.Census) {
        let now = SystemClock.now()
        retention.apply(census, now: now)
        lookAtSeries(now)
    }

    /// Notes which of the versions that are gone still have requests in flight.
    func lookAtSeries(_ now: Instant) {
        let activity = RowActivity(metrics: registry.metrics, shards: group.shards)
        retention.look(now: now, isBusy: activity.isBusy)
        if retention.isWaiting {
            agenda.set(.lookAtSeries, noLaterThan: now + SeriesRetention.interval)
        }
    }

    /// Lets go of series that have left the page and that no snapshot names any more. The compiling
    /// thread does: nothing can be given a forgotten number meanwhile, and its letter comes before
    /// that of the next compilation. One job at a time, so that each begins with what the one
    /// before has left.
    func forgetSeries() {
        guard !isForgetting, retention.isWaiting else { return }
        isForgetting = true
        let (registry, retention, inbox) = (registry, retention, inbox)
        let activity = RowActivity(metrics: registry.metrics, shards: group.shards)
        let time = file.document.metricsRetention
        compiling.put {
            let hidden = retention.hidden(
                retention: time, now: SystemClock.now(), isBusy: activity.isBusy,
                hasCounted: activity.hasCounted)
            inbox.put(.forgotten(registry.forget(hidden, activity.shards)))
        }
    }

    func forgotten(_ selection: MetricRegistry.Selection) {
        isForgetting = false
        retention.forget(selection)
    }
}
