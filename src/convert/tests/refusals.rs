//! What cannot be converted is refused: each field with its path and what to do.

use super::{BEFORE, CONTAINER, EXPAND, convert, job, refused};

#[test]
fn what_cannot_be_is_refused_with_its_path_and_what_to_do() {
    let cases = [
        (
            job("completions: 5", ""),
            "spec.completions: a task has one Pod at a time: convert with --expand, which makes 5 tasks of it",
        ),
        (
            job("parallelism: 3", ""),
            "spec.parallelism: a task has one Pod at a time. Without completions these Pods share a queue of their own: create one task for each piece of work",
        ),
        (job("parallelism: 0", ""), "spec.parallelism: 0 holds the Job: remove it, and set spec.suspend to true"),
        (
            job("completionMode: Indexed, completions: 1", ""),
            "spec.completionMode: a task has one Pod at a time: convert with --expand, which makes 1 tasks of it",
        ),
        (job("completionMode: Random", ""), "spec.completionMode: there is no mode \"Random\""),
        (
            job("backoffLimitPerIndex: 1", ""),
            "spec.backoffLimitPerIndex: a task has no indexes: convert with --expand, or use backoffLimit",
        ),
        (job("maxFailedIndexes: 1", ""), "spec.maxFailedIndexes: a task knows nothing of other tasks: remove it"),
        (
            job("successPolicy: {rules: [{succeededCount: 1}]}", ""),
            "spec.successPolicy: a task has one Pod at a time, which must succeed: remove it",
        ),
        (
            job("managedBy: example.org/queue", ""),
            "spec.managedBy: example.org/queue runs this Job, and knows no tasks: remove it",
        ),
        (
            job("scheduling: {schedulingPolicy: {gang: {minCount: 2}}}", ""),
            "spec.scheduling: a task has one Pod at a time, and no gang: remove it",
        ),
        (
            job("activeDeadlineSeconds: 0", ""),
            "spec.activeDeadlineSeconds: a task's is a time from 1 to 2147483647: 0 is none",
        ),
        (
            job("activeDeadlineSeconds: 3000000000", ""),
            "spec.activeDeadlineSeconds: a task's is a time from 1 to 2147483647: 3000000000 is none",
        ),
    ];
    are_refused(&cases);
    let many = refused(&job("completions: 1001", ""), EXPAND);
    assert_eq!(many, ["spec.completions: --expand makes 1 to 1000 tasks of a Job, not 1001: make them by a script"]);
    let none = refused(&job("completionMode: Indexed", ""), EXPAND);
    assert_eq!(none, ["spec.completions: an Indexed Job has completions: give them"]);
}

#[test]
fn a_field_or_a_rule_that_no_task_has_is_refused_too() {
    let code = |rule: &str| format!("podFailurePolicy: {{rules: [{{action: FailJob, onExitCodes: {{{rule}}}}}]}}");
    let cases = [
        (job("backoffLimit: many", ""), "spec: invalid type: string \"many\", expected i32"),
        (job("backofLimit: 3", ""), "spec.backofLimit: unknown field: remove it, or correct its name"),
        (
            job("", "restartPolicy: Never, containers: []"),
            "what comes of it: spec: Invalid value: nothing to run: set spec.image, or give spec.template.spec.containers a container",
        ),
        (
            job("", "restartPolicy: Always, containers: [{name: c, image: i}]"),
            "spec.template.spec.restartPolicy: a Job's is Never or OnFailure, and this is Always: set one of them",
        ),
        (
            job("", "containers: [{name: c, image: i}]"),
            "spec.template.spec.restartPolicy: a Job's is Never or OnFailure, and this is not given: set one of them",
        ),
        (
            job("", "restartPolicy: Never, containers: [{name: c, image: i, restartPolicy: OnFailure}]"),
            "spec.template.spec.containers[0].restartPolicy: an attempt runs its containers once, and the operator does the retrying: remove it",
        ),
        (
            job("", "restartPolicy: Never, containers: [{name: c, image: i, restartPolicyRules: [{action: Restart}]}]"),
            "spec.template.spec.containers[0].restartPolicyRules: an attempt runs its containers once: remove them, and let the task's rules decide by exit code",
        ),
        (
            job("", "restartPolicy: Never, imagePullPolice: Always, containers: [{name: c, image: i}]"),
            "spec.template.spec.imagePullPolice: unknown field: remove it, or correct its name",
        ),
        (
            job(&code("operator: In, values: [3], containerName: other"), ""),
            "spec.podFailurePolicy.rules[0].onExitCodes.containerName: a rule matches the container that decides, which is \"c\": remove the rule, or make \"other\" the main container by the annotation kubectl.kubernetes.io/default-container of the template",
        ),
        (
            job(&code("operator: In, values: [0, 256]"), ""),
            "spec.podFailurePolicy.rules[0].onExitCodes.values: no failure ends with one of these: use codes from 1 to 255",
        ),
        (
            job(&code("operator: Is, values: [3]"), ""),
            "spec.podFailurePolicy.rules[0].onExitCodes.operator: there is no operator \"Is\": use In or NotIn",
        ),
        (
            job("podFailurePolicy: {rules: [{action: FailIndex, onPodConditions: [{type: X}]}]}", ""),
            "spec.podFailurePolicy.rules[0].action: FailIndex is for indexed Jobs: convert with --expand",
        ),
        (
            job("podFailurePolicy: {rules: [{action: Stop, onPodConditions: [{type: X}]}]}", ""),
            "spec.podFailurePolicy.rules[0].action: there is no action \"Stop\"",
        ),
        (
            job("podFailurePolicy: {rules: [{action: Count}]}", ""),
            "spec.podFailurePolicy.rules[0]: a rule has either onExitCodes or onPodConditions: give one of them",
        ),
        (
            job("podFailurePolicy: {rules: [{action: Count, onPodConditions: [{type: X, status: \"False\"}]}]}", ""),
            "spec.podFailurePolicy.rules[0].onPodConditions[0].status: a rule matches conditions that are true, not \"False\": remove the pattern",
        ),
        (
            job("", "").replace("batch/v1", "batch/v1beta1"),
            "apiVersion: batch/v1beta1 is no version of a Job that is served: use batch/v1",
        ),
        (format!("{}\nspecs: 1", job("", "")), "specs: unknown field: remove it"),
    ];
    are_refused(&cases);
}

fn are_refused(cases: &[(String, &str)]) {
    for (manifest, reason) in cases {
        let reasons = refused(manifest, BEFORE);
        assert!(reasons.iter().any(|said| said == reason), "{manifest}\nwanted: {reason}\nsaid: {reasons:#?}");
    }
}

const STEP: &str = "container: {image: i}";

/// A Workflow with these fields in its spec, and in its step.
fn workflow(spec: &str, step: &str) -> String {
    format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nmetadata: {{name: w}}\n\
         spec: {{entrypoint: a, {spec} templates: [{{name: a, {step}}}]}}"
    )
}

#[test]
fn a_workflow_of_more_or_less_than_one_container_is_refused() {
    let cases = [
        (
            workflow("", &format!("{STEP}}}, {{name: b, {STEP}, retryStrategy: {{limit: 2}}")),
            "spec.templates: a task has one step: convert \"b\" by itself, or remove it",
        ),
        (
            workflow("onExit: b,", &format!("{STEP}}}, {{name: b, {STEP}, podSpecPatch: '{{}}'")),
            "spec.templates[name=b].podSpecPatch: the fallback runs once: write its resources into the container",
        ),
        (
            workflow("", "retryStrategy: {limit: 2}"),
            "spec.templates[name=a].container: a task runs one container: give container or script",
        ),
        (
            workflow("", &format!("{STEP}, script: {{image: i, command: [sh], source: x}}")),
            "spec.templates[name=a].container: a task runs one container: give container or script",
        ),
        (
            workflow("", STEP)
                .replace("kind: Workflow", "kind: CronWorkflow")
                .replace("spec: ", "spec: {schedule: '* * * * *'}\nstatus: "),
            "spec.workflowSpec: a schedule starts something: give it",
        ),
    ];
    are_refused(&cases);
}

#[test]
fn of_a_workflow_too() {
    let retry = |strategy: &str| workflow("", &format!("{STEP}, retryStrategy: {{{strategy}}}"));
    let cases = [
        (
            workflow("", "steps: []"),
            "spec.templates[name=a].steps: a task runs one container: make a task of each; order, loops and data between them stay with Argo",
        ),
        (
            workflow("", "dag: {tasks: []}"),
            "spec.templates[name=a].dag: a task runs one container: make a task of each; order, loops and data between them stay with Argo",
        ),
        (
            workflow("entrypoint: b,", STEP).replace("entrypoint: a, ", ""),
            "spec.entrypoint: there is no template \"b\" in spec.templates: give its name",
        ),
        (
            workflow(
                "synchronization: {mutex: {name: m}},",
                &format!("{STEP}, synchronization: {{mutexes: [{{name: n}}]}}"),
            ),
            "spec.templates[name=a].synchronization.mutexes[0]: a task has one queue: keep the lock that matters most",
        ),
        (
            workflow("synchronization: {semaphore: {}},", STEP),
            "spec.synchronization.semaphore: has no name for a queue: give it a mutex or a semaphore of a ConfigMap's key",
        ),
        (
            workflow("", &format!("{STEP}, podSpecPatch: 'nodeSelector: {{disk: ssd}}'")),
            "spec.templates[name=a].podSpecPatch: only resources of the container main can be converted: write all else into overrides by hand",
        ),
        (
            workflow("", &format!("{STEP}, podSpecPatch: '{{{{=retries > 1 ? 2 : 1}}}}'")),
            "spec.templates[name=a].podSpecPatch: {{=retries > 1 ? 2 : 1}}: only numbers, retries, + - * / % ** and parentheses can be converted: write overrides by hand",
        ),
        (
            workflow("", &format!("{STEP}, podSpecPatch: '[{{{{=retries + 1}}}}'")),
            "spec.templates[name=a].podSpecPatch: invalid YAML after substitution: did not find expected ',' or ']' at line 2 column 1, while parsing a flow sequence",
        ),
        (
            workflow("workflowTemplateRef: {name: w},", STEP),
            "spec.workflowTemplateRef: the templates are elsewhere: put that WorkflowTemplate's spec here",
        ),
        (
            workflow("podSpecPatch: '{}',", &format!("{STEP}, podSpecPatch: '{{}}'")),
            "spec.templates[name=a].podSpecPatch: the Workflow has one too: write both into one",
        ),
        (
            workflow("", &format!("{STEP}, inputs: {{artifacts: [{{name: x}}]}}")),
            "spec.templates[name=a].inputs.artifacts: a task has nothing like it: remove it",
        ),
        (
            workflow("", "container: {image: '{{inputs.parameters.tag}}'}"),
            "spec.templates[name=a].container.image: {{inputs.parameters.tag}} has no value here: write one in its place",
        ),
        (
            workflow("", "script: {image: i, command: [java], source: x}"),
            "spec.templates[name=a].script.command: put the script into a ConfigMap, and run it from there",
        ),
        (retry("limit: many"), "spec.templates[name=a].retryStrategy.limit: \"many\" is no number: give one"),
        (
            retry("retryPolicy: OnTransientError"),
            "spec.templates[name=a].retryStrategy.retryPolicy: OnTransientError has no counterpart: use a rule on the message of the failure",
        ),
        (
            retry("expression: lastRetry.duration > 3"),
            "spec.templates[name=a].retryStrategy.expression: only comparisons of lastRetry.exitCode with numbers can be converted: write rules on exit codes by hand",
        ),
        (
            retry("backoff: {duration: soon}"),
            "spec.templates[name=a].retryStrategy.backoff.duration: \"soon\" is no duration such as 30 or 1m30s: give one",
        ),
        (
            retry("limit: 1, colour: red"),
            "spec.templates[name=a].retryStrategy.colour: a task has nothing like it: remove it",
        ),
    ];
    for (manifest, reason) in cases {
        let reasons = refused(&manifest, BEFORE);
        assert!(reasons.iter().any(|said| said == reason), "{manifest}\nwanted: {reason}\nsaid: {reasons:#?}");
    }
}

#[test]
fn of_a_cron_job_too() {
    let cron_job = |spec: &str, job: &str| {
        format!(
            "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: x}}\n\
             spec: {{{spec} jobTemplate: {{spec: {{{job}template: {{spec: {{restartPolicy: Never, containers: [{CONTAINER}]}}}}}}}}}}"
        )
    };
    let cases = [
        (
            cron_job("schedule: '@every 5m',", ""),
            "spec.schedule: @every counts from when the controller started: write five fields, such as */5 * * * *",
        ),
        (
            cron_job("schedule: 'TZ=Asia/Tokyo 0 3 * * *', timeZone: Europe/Berlin,", ""),
            "spec.schedule: a schedule has one time zone: make one of each",
        ),
        (
            "apiVersion: argoproj.io/v1alpha1\nkind: CronWorkflow\nmetadata: {name: w}\n\
             spec: {schedules: ['CRON_TZ=Asia/Tokyo 0 3 * * *', 'CRON_TZ=Europe/Berlin 0 4 * * *'], workflowSpec: {entrypoint: a, templates: [{name: a, container: {image: i}}]}}"
                .into(),
            "spec.schedule: a schedule has one time zone: make one of each",
        ),
        (
            cron_job("schedule: '* * * * *', concurrencyPolicy: Never,", ""),
            "spec.concurrencyPolicy: there is no policy \"Never\": use Allow, Forbid or Replace",
        ),
        (
            cron_job("schedule: '* * * * *', colour: red,", ""),
            "spec.colour: unknown field: remove it, or correct its name",
        ),
        (
            cron_job("schedule: '* * * * *',", "completions: 3, "),
            "spec.jobTemplate.spec.completions: a task has one Pod at a time: convert with --expand, which makes 3 tasks of it",
        ),
        (
            cron_job("schedule: '* * * * *',", "managedBy: a, "),
            "spec.jobTemplate.spec.managedBy: a runs this Job, and knows no tasks: remove it",
        ),
    ];
    for (manifest, reason) in cases {
        let reasons = refused(&manifest, BEFORE);
        assert!(reasons.iter().any(|said| said == reason), "{manifest}\nwanted: {reason}\nsaid: {reasons:#?}");
    }
    let expanded = refused(&cron_job("schedule: '* * * * *',", "completions: 3, "), EXPAND);
    assert_eq!(
        expanded,
        [
            "spec.jobTemplate.spec.completions: a schedule starts one task at a time: make one schedule of each completion"
        ]
    );
    let never = refused(&cron_job("schedule: '0 0 31 2 *',", ""), BEFORE);
    assert!(never[0].contains("never comes"), "{never:?}");
}

#[test]
fn one_that_is_refused_keeps_all_others_back_and_all_is_told() {
    let file = [job("", ""), job("completions: 5, parallelism: 0", ""), job("managedBy: a", "")].join("\n---\n");
    let Err(error) = convert(&file, BEFORE) else { panic!("not refused") };
    let expected = "\
Job \"x\" cannot be converted:
* spec.parallelism: 0 holds the Job: remove it, and set spec.suspend to true
Job \"x\" cannot be converted:
* spec.managedBy: a runs this Job, and knows no tasks: remove it";
    assert_eq!(error.to_string(), expected);
}
