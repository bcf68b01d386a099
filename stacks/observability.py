"""The alarms and the dashboard.

docs/operations.md, section 'Alarms', explains each alarm under its name without the stack's name.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from rules import states
from stacks.runtime import BackgroundFunction
from stacks.settings import Settings

FIVE_MINUTES, HOUR, DAY = cdk.Duration.minutes(5), cdk.Duration.hours(1), cdk.Duration.days(1)
SLOW_DETECTION_SECONDS = 5
MANUAL = "docs/operations.md, section Alarms"

PHASES = {
    "Labels": (states.PREPARE_DATASETS.function, "LabellingTime"),
    "Datasets": (states.CHECK_DATASETS.function, "DatasetTime"),
    "Training": (states.CHECK_TRAINING.function, "TrainingTime"),
    "Model start": (states.CHECK_MODEL.function, "ModelStartupTime"),
}
"""What a job waits for: the stage that detects the end of the wait, and its metric of the duration in seconds."""


@dataclass(frozen=True)
class _Functions:
    """The functions by name.

    ``watched`` are the API's functions and the background functions. ``unhandled`` counts the events that a background
    function failed to handle, for each of them.
    """

    stages: Mapping[str, lambda_.IFunction]
    watched: Mapping[str, lambda_.IFunction]
    unhandled: Sequence[cloudwatch.IMetric]

    def unhandled_events(self) -> cloudwatch.IMetric:
        """Return the number of unhandled events of all functions."""
        return _sum(self.unhandled)


class Observability(Construct):
    """The alarms, which go to the topic, and the dashboard, which has the stack's name."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        topic: sns.ITopic,
        state_machine: sfn.StateMachine,
        stages: Mapping[str, lambda_.IFunction],
        background: Sequence[BackgroundFunction],
        api: Mapping[str, lambda_.IFunction],
    ) -> None:
        super().__init__(scope, id)
        # No alarm for errors and throttles of stages: the state machine retries them, and a failed execution has its
        # own alarm.
        functions = _Functions(
            stages=stages,
            watched={**api, **{function.node.id: function for function in background}},
            unhandled=[
                function.unhandled.metric_approximate_number_of_messages_visible(
                    statistic="Maximum", period=FIVE_MINUTES
                )
                for function in background
            ],
        )
        metrics = _Metrics(settings.stack_name, state_machine)
        alarms = _Alarms(self, settings, metrics, actions.SnsAction(topic))
        widgets = _Widgets(metrics, functions)
        added = [*alarms.of_executions(), *alarms.of_functions(functions), *alarms.of_models()]
        cloudwatch.Dashboard(
            self,
            "Dashboard",
            dashboard_name=settings.stack_name,
            default_interval=cdk.Duration.days(14),
            widgets=[
                widgets.now(),
                [cloudwatch.AlarmStatusWidget(title="Alarms", alarms=added, width=24, height=3)],
                widgets.of_jobs(),
                widgets.of_photos_and_models(),
                widgets.of_trainings_and_retries(),
                widgets.of_functions(),
                widgets.of_detections(),
            ],
        )


class _Metrics:
    """The metrics of Step Functions and of the pipeline's functions."""

    def __init__(self, namespace: str, machine: sfn.StateMachine) -> None:
        self._namespace = namespace
        self._machine = machine

    def of_machine(self, metric: str) -> cloudwatch.Metric:
        """Return Step Functions' metric of the state machine. Source: Step Functions guide, 'Monitoring metrics'."""
        return self._machine.metric(metric, statistic="Sum", period=FIVE_MINUTES)

    def own(self, service: str, metric: str, statistic: str = "Sum", period: cdk.Duration = HOUR) -> cloudwatch.Metric:
        """Return a metric that the function ``service`` writes in its log."""
        return cloudwatch.Metric(
            namespace=self._namespace,
            metric_name=metric,
            dimensions_map={"service": service},
            statistic=statistic,
            period=period,
        )

    def of_watch(self, metric: str) -> cloudwatch.Metric:
        """Return a metric that WatchRunning writes once an hour."""
        return self.own("WatchRunning", metric, "Maximum")


class _Alarms:
    """Adds the alarms to a construct."""

    def __init__(
        self, scope: Construct, settings: Settings, metrics: _Metrics, action: cloudwatch.IAlarmAction
    ) -> None:
        self._scope = scope
        self._settings = settings
        self._metrics = metrics
        self._action = action

    def of_executions(self) -> list[cloudwatch.IAlarm]:
        hours = self._settings.execution_hours
        see_message = "The pipeline's message on this topic names the job, the stage and the reason."
        return [
            self._alarm(
                "execution-failed",
                self._metrics.of_machine("ExecutionsFailed"),
                f"A job failed or was rejected. {see_message}",
            ),
            self._alarm(
                "execution-timed-out",
                self._metrics.of_machine("ExecutionsTimedOut"),
                f"A job reached its time limit of 60 days. {see_message}",
            ),
            self._alarm(
                "execution-aborted",
                self._metrics.of_machine("ExecutionsAborted"),
                f"A job was stopped. {see_message} If you stopped the job on purpose, there is nothing to do.",
            ),
            self._alarm(
                "execution-throttled",
                self._metrics.of_machine("ExecutionThrottled"),
                "Step Functions has throttled state transitions for half an hour. Jobs continue with delays.",
                periods=6,
            ),
            self._alarm(
                "execution-overdue",
                self._metrics.of_watch("OldestExecutionHours"),
                f"A job has run for more than {hours} hours (setting executionHours) and may be stuck.",
                above=hours,
                missing=cloudwatch.TreatMissingData.IGNORE,
            ),
        ]

    def of_functions(self, functions: _Functions) -> list[cloudwatch.IAlarm]:
        return [
            self._alarm(
                "event-unhandled",
                functions.unhandled_events(),
                "A function failed three times to handle an event, or could not be invoked. The event is kept for 14 "
                "days. A job's end, its labels, an erasure or a reminder is delayed.",
            ),
            self._alarm(
                "function-failing",
                _sum(function.metric_errors(period=FIVE_MINUTES) for function in functions.watched.values()),
                "The API or a background function raised an error. Its log has the error.",
            ),
            self._alarm(
                "function-throttled",
                _sum(function.metric_throttles(period=FIVE_MINUTES) for function in functions.watched.values()),
                "Lambda throttled the API or a background function: the account has reached its concurrency limit.",
            ),
            self._alarm(
                "detection-slow",
                functions.watched["Documents"].metric_duration(statistic="p90", period=FIVE_MINUTES),
                f"One in ten detections of documents takes longer than {SLOW_DETECTION_SECONDS} seconds.",
                above=SLOW_DETECTION_SECONDS * 1000,
                periods=3,
            ),
        ]

    def of_models(self) -> list[cloudwatch.IAlarm]:
        settings = self._settings
        action = "The pipeline stops it" if settings.long_running_models == "stop" else "The pipeline does not stop it"
        return [
            self._alarm(
                "model-running-long",
                self._metrics.of_watch("LongestModelHours"),
                f"A model has run for more than {settings.model_hours} hours (setting modelHours). {action} (setting "
                "longRunningModels).",
                above=settings.model_hours,
                missing=cloudwatch.TreatMissingData.IGNORE,
            )
        ]

    def _alarm(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        description: str,
        *,
        above: float = 0,
        periods: int = 1,
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> cloudwatch.IAlarm:
        """Add an alarm that notifies the topic when ``metric`` is above ``above`` for ``periods`` periods.

        Missing data of AWS services means zero, so the default is not breaching. WatchRunning writes one data point an
        hour; if one is missing, nothing is known, and IGNORE keeps the alarm's state.
        """
        id, full_name = "".join(part.capitalize() for part in name.split("-")), f"{self._settings.stack_name}-{name}"
        alarm = cloudwatch.Alarm(
            self._scope,
            id,
            alarm_name=full_name,
            alarm_description=f"{description} What to do: {MANUAL}, {name}.",
            metric=metric,
            threshold=above,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            evaluation_periods=periods,
            treat_missing_data=missing,
        )
        alarm.add_alarm_action(self._action)
        # The dashboard refers to the alarm by name, because the local AWS creates the dashboard but no alarms.
        return cloudwatch.Alarm.from_alarm_name(self._scope, f"{id}ByName", full_name)


Row = list[cloudwatch.IWidget]


class _Widgets:
    """The rows of the dashboard."""

    def __init__(self, metrics: _Metrics, functions: _Functions) -> None:
        self._metrics = metrics
        self._functions = functions

    def now(self) -> Row:
        return [
            _single_values(
                "Is anything stuck?",
                {
                    "Running jobs": self._metrics.of_watch("RunningExecutions"),
                    "Hours of the oldest job": self._metrics.of_watch("OldestExecutionHours"),
                    "Unhandled events": self._functions.unhandled_events(),
                },
            ),
            _single_values(
                "What does it cost?",
                {
                    "Running models": self._metrics.of_watch("RunningModels"),
                    "Their USD an hour": self._metrics.of_watch("ModelDollarsAnHour"),
                    "Hours of the longest run": self._metrics.of_watch("LongestModelHours"),
                },
            ),
        ]

    def of_jobs(self) -> Row:
        outcomes = {str(status): self._metrics.own("RecordOutcome", status, period=DAY) for status in states.ENDED}
        waits = {
            phase: _hours(self._metrics.own(stage, metric, "Average", DAY)) for phase, (stage, metric) in PHASES.items()
        }
        return [_graph("How jobs ended", outcomes, "jobs a day"), _graph("What jobs waited for", waits, "hours")]

    def of_photos_and_models(self) -> Row:
        own = self._metrics.own
        photos = {
            "Accepted": own(states.COLLECT_PHOTOS.function, "Images"),
            "Rejected": own(states.COLLECT_PHOTOS.function, "Rejected"),
            "To train on": own(states.PREPARE_DATASETS.function, "TrainImages"),
            "To test on": own(states.PREPARE_DATASETS.function, "TestImages"),
            "Labels not usable": own(states.PREPARE_DATASETS.function, "Dropped"),
        }
        figures = {name: own(states.EVALUATE_MODEL.function, name, "Average") for name in ("F1", "Precision", "Recall")}
        return [_graph("Photos", photos, "photos"), _graph("How good models are", figures, "share")]

    def of_trainings_and_retries(self) -> Row:
        billed = _hours(self._metrics.own(states.CHECK_TRAINING.function, "BilledTrainingTime"))
        retries = {name: self._metrics.own(name, "Retries") for name in self._functions.stages}
        return [
            _graph("Training billed", {"Training": billed}, "hours"),
            _graph("Stages tried again", retries, "runs"),
        ]

    def of_functions(self) -> Row:
        throttled = {name: function.metric_throttles() for name, function in self._functions.stages.items()}
        errors = {name: function.metric_errors() for name, function in self._functions.watched.items()}
        return [
            _graph("Stages throttled", throttled, "calls"),
            _graph("Errors of the API and of background functions", errors, "errors"),
        ]

    def of_detections(self) -> Row:
        function = self._functions.watched["Documents"]
        times = {
            name: function.metric_duration(statistic=statistic, period=HOUR)
            for name, statistic in {"Half of the photos": "p50", "Nine of ten photos": "p90"}.items()
        }
        return [
            _graph("Photos sent to find documents", {"Photos": function.metric_invocations(period=HOUR)}, "photos"),
            _graph("How long a photo takes", times, "milliseconds"),
        ]


def _single_values(title: str, metrics: Mapping[str, cloudwatch.IMetric]) -> cloudwatch.SingleValueWidget:
    return cloudwatch.SingleValueWidget(title=title, metrics=_labelled(metrics), width=12, height=4)


def _graph(title: str, metrics: Mapping[str, cloudwatch.IMetric], unit: str) -> cloudwatch.GraphWidget:
    axis = cloudwatch.YAxisProps(label=unit, show_units=False, min=0)
    return cloudwatch.GraphWidget(title=title, left=_labelled(metrics), left_y_axis=axis, width=12, height=6)


def _sum(metrics: Iterable[cloudwatch.IMetric]) -> cloudwatch.MathExpression:
    """Return the sum of ``metrics``; a missing data point counts as 0."""
    by_id = {f"m{place}": metric for place, metric in enumerate(metrics)}
    return cloudwatch.MathExpression(
        expression=" + ".join(f"FILL({name}, 0)" for name in by_id), using_metrics=by_id, period=FIVE_MINUTES
    )


def _hours(seconds: cloudwatch.Metric) -> cloudwatch.MathExpression:
    """Return the metric in hours. Its id is derived from its name, because ids must be unique in a widget."""
    name = "".join(c for c in f"{seconds.metric_name}" if c.isalnum())
    id = name[0].lower() + name[1:]
    return cloudwatch.MathExpression(expression=f"{id} / 3600", using_metrics={id: seconds}, period=seconds.period)


def _labelled(metrics: Mapping[str, Any]) -> list[cloudwatch.IMetric]:
    return [metric.with_(label=label) for label, metric in metrics.items()]
