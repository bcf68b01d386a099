"""The alarms and the dashboard.

docs/operations.md, section 'Alarms', explains each alarm under its name without the stack's name.
"""

from collections.abc import Mapping, Sequence
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

FIVE_MINUTES, HOUR = cdk.Duration.minutes(5), cdk.Duration.hours(1)
MANUAL = "docs/operations.md, section Alarms"

PHASES = {
    "Labels": (states.PREPARE_DATASETS.function, "LabellingTime"),
    "Datasets": (states.CHECK_DATASETS.function, "DatasetTime"),
    "Training": (states.CHECK_TRAINING.function, "TrainingTime"),
    "Model start": (states.CHECK_MODEL.function, "ModelStartupTime"),
}
"""What a job waits for: the stage that detects the end of the wait, and its metric of the duration in seconds."""


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
        api: lambda_.IFunction,
    ) -> None:
        super().__init__(scope, id)
        self._name = settings.stack_name
        self._action = actions.SnsAction(topic)
        self._machine = state_machine
        # No alarm for errors and throttles of stages: the state machine retries them, and a failed execution has its
        # own alarm.
        self._watched = {"Api": api, **{function.node.id: function for function in background}}
        unhandled = {
            function.node.id: function.unhandled.metric_approximate_number_of_messages_visible(
                statistic="Maximum", period=FIVE_MINUTES
            )
            for function in background
        }
        alarms = [*self._execution_alarms(settings), *self._function_alarms(unhandled), *self._model_alarms(settings)]
        self._add_dashboard(alarms, unhandled, stages)

    def _execution_alarms(self, settings: Settings) -> list[cloudwatch.IAlarm]:
        see_message = "The pipeline's message on this topic names the job, the stage and the reason."
        return [
            self._alarm(
                "execution-failed", self._of_machine("ExecutionsFailed"), f"A job failed or was rejected. {see_message}"
            ),
            self._alarm(
                "execution-timed-out",
                self._of_machine("ExecutionsTimedOut"),
                f"A job reached its time limit of 60 days. {see_message}",
            ),
            self._alarm(
                "execution-aborted",
                self._of_machine("ExecutionsAborted"),
                f"A job was stopped. {see_message} If you stopped the job on purpose, there is nothing to do.",
            ),
            self._alarm(
                "execution-throttled",
                self._of_machine("ExecutionThrottled"),
                "Step Functions has throttled state transitions for half an hour. Jobs continue with delays.",
                periods=6,
            ),
            self._alarm(
                "execution-overdue",
                self._of_watch("OldestExecutionHours"),
                f"A job has run for more than {settings.execution_hours} hours (setting executionHours) and may be "
                "stuck.",
                above=settings.execution_hours,
                missing=cloudwatch.TreatMissingData.IGNORE,
            ),
        ]

    def _function_alarms(self, unhandled: Mapping[str, cloudwatch.IMetric]) -> list[cloudwatch.IAlarm]:
        return [
            self._alarm(
                "event-unhandled",
                _sum(unhandled),
                "A function failed three times to handle an event, or could not be invoked. The event is kept for 14 "
                "days. A job's end, its labels, an erasure or a reminder is delayed.",
            ),
            self._alarm(
                "function-failing",
                _sum({name: function.metric_errors(period=FIVE_MINUTES) for name, function in self._watched.items()}),
                "The API or a background function raised an error. Its log has the error.",
            ),
            self._alarm(
                "function-throttled",
                _sum(
                    {name: function.metric_throttles(period=FIVE_MINUTES) for name, function in self._watched.items()}
                ),
                "Lambda throttled the API or a background function: the account has reached its concurrency limit.",
            ),
        ]

    def _model_alarms(self, settings: Settings) -> list[cloudwatch.IAlarm]:
        action = "The pipeline stops it" if settings.long_running_models == "stop" else "The pipeline does not stop it"
        return [
            self._alarm(
                "model-running-long",
                self._of_watch("LongestModelHours"),
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
        id, full_name = "".join(part.capitalize() for part in name.split("-")), f"{self._name}-{name}"
        alarm = cloudwatch.Alarm(
            self,
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
        return cloudwatch.Alarm.from_alarm_name(self, f"{id}ByName", full_name)

    def _of_machine(self, metric: str) -> cloudwatch.Metric:
        """Return Step Functions' metric of the state machine. Source: Step Functions guide, 'Monitoring metrics'."""
        return self._machine.metric(metric, statistic="Sum", period=FIVE_MINUTES)

    def _own(self, service: str, metric: str, statistic: str = "Sum", period: cdk.Duration = HOUR) -> cloudwatch.Metric:
        """Return a metric that the function ``service`` writes in its log."""
        return cloudwatch.Metric(
            namespace=self._name,
            metric_name=metric,
            dimensions_map={"service": service},
            statistic=statistic,
            period=period,
        )

    def _of_watch(self, metric: str) -> cloudwatch.Metric:
        return self._own("WatchRunning", metric, "Maximum")

    def _add_dashboard(
        self,
        alarms: Sequence[cloudwatch.IAlarm],
        unhandled: Mapping[str, cloudwatch.IMetric],
        stages: Mapping[str, lambda_.IFunction],
    ) -> None:
        def now(title: str, metrics: Mapping[str, cloudwatch.IMetric]) -> cloudwatch.SingleValueWidget:
            return cloudwatch.SingleValueWidget(title=title, metrics=_labelled(metrics), width=12, height=4)

        def days(title: str, metrics: Mapping[str, cloudwatch.IMetric], unit: str) -> cloudwatch.GraphWidget:
            axis = cloudwatch.YAxisProps(label=unit, show_units=False, min=0)
            return cloudwatch.GraphWidget(title=title, left=_labelled(metrics), left_y_axis=axis, width=12, height=6)

        def of_outcome(status: str) -> cloudwatch.Metric:
            return self._own("RecordOutcome", status, period=cdk.Duration.days(1))

        cloudwatch.Dashboard(
            self,
            "Dashboard",
            dashboard_name=self._name,
            default_interval=cdk.Duration.days(14),
            widgets=[
                [
                    now(
                        "Is anything stuck?",
                        {
                            "Running jobs": self._of_watch("RunningExecutions"),
                            "Hours of the oldest job": self._of_watch("OldestExecutionHours"),
                            "Unhandled events": _sum(unhandled),
                        },
                    ),
                    now(
                        "What does it cost?",
                        {
                            "Running models": self._of_watch("RunningModels"),
                            "Their USD an hour": self._of_watch("ModelDollarsAnHour"),
                            "Hours of the longest run": self._of_watch("LongestModelHours"),
                        },
                    ),
                ],
                [cloudwatch.AlarmStatusWidget(title="Alarms", alarms=alarms, width=24, height=3)],
                [
                    days(
                        "How jobs ended",
                        {status: of_outcome(status) for status in states.ENDED},
                        "jobs a day",
                    ),
                    days(
                        "What jobs waited for",
                        {
                            phase: _hours(self._own(stage, metric, "Average", cdk.Duration.days(1)))
                            for phase, (stage, metric) in PHASES.items()
                        },
                        "hours",
                    ),
                ],
                [
                    days(
                        "Photos",
                        {
                            "Accepted": self._own(states.CHECK_IMAGES.function, "Images"),
                            "Rejected": self._own(states.CHECK_IMAGES.function, "Rejected"),
                            "To train on": self._own(states.PREPARE_DATASETS.function, "TrainImages"),
                            "To test on": self._own(states.PREPARE_DATASETS.function, "TestImages"),
                            "Labels not usable": self._own(states.PREPARE_DATASETS.function, "Dropped"),
                        },
                        "photos",
                    ),
                    days(
                        "How good models are",
                        {
                            name: self._own(states.EVALUATE_MODEL.function, name, "Average")
                            for name in ("F1", "Precision", "Recall")
                        },
                        "share",
                    ),
                ],
                [
                    days(
                        "Training billed",
                        {"Training": _hours(self._own(states.CHECK_TRAINING.function, "BilledTrainingTime"))},
                        "hours",
                    ),
                    days("Stages tried again", {name: self._own(name, "Retries") for name in stages}, "runs"),
                ],
                [
                    days(
                        "Stages throttled",
                        {name: function.metric_throttles() for name, function in stages.items()},
                        "calls",
                    ),
                    days(
                        "Errors of the API and of background functions",
                        {name: function.metric_errors() for name, function in self._watched.items()},
                        "errors",
                    ),
                ],
            ],
        )


def _sum(metrics: Mapping[str, cloudwatch.IMetric]) -> cloudwatch.MathExpression:
    """Return the sum of ``metrics``; a missing data point counts as 0."""
    by_id = {f"m{place}": metric for place, metric in enumerate(metrics.values())}
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
