//! `quiesce plan`: windows that recur.

use quiesce_policy::time::Timestamp;

use super::{
    Context,
    error::CliError,
    output::{DIM, columns},
    schedule::parse_time,
    window::{WindowArgs, describe_scope},
};
use crate::plans::{NewPlan, PlanId, PlanView};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Plan windows that recur by a rule.
    Add(Add),
    /// List the plans there are.
    List,
    /// Show one plan, and its next windows.
    Show {
        /// The plan.
        plan: String,
    },
    /// Take out one occurrence that is not issued yet.
    Skip {
        /// The plan.
        plan: String,
        /// When it would begin: RFC 3339 with an offset, as `quiesce plan show` says.
        #[arg(long, value_name = "TIME", value_parser = parse_time)]
        at: Timestamp,
    },
    /// Remove a plan; the windows that it has issued stay.
    Remove {
        /// The plan.
        plan: String,
    },
}

#[derive(Debug, clap::Args)]
pub struct Add {
    /// When it recurs: an RRULE of RFC 5545, for example FREQ=WEEKLY;BYDAY=SU.
    #[arg(long)]
    rule: String,
    /// From when on, as the clock of the zone shows it, for example 2026-12-06T02:00.
    #[arg(long, value_name = "TIME")]
    at: String,
    /// The time zone whose clock counts, for example Europe/Berlin.
    #[arg(long)]
    zone: String,
    #[command(flatten)]
    window: WindowArgs,
}

pub async fn run(context: &Context, command: Command) -> Result<(), CliError> {
    let client = context.client()?;
    let plan = match command {
        Command::List => {
            let list = client.plans().await?;
            let row = |plan: &PlanView| {
                let next = plan.windows.first().map(|it| it.starts_at.to_string());
                let next = next.or(plan.upcoming.first().cloned()).unwrap_or_else(|| "over".to_owned());
                [plan.id.to_string(), plan.rule.clone(), plan.zone.clone(), next]
            };
            let rows: Vec<_> = list.plans.iter().map(row).collect();
            columns(&rows).iter().for_each(|line| context.printer.line(line));
            if rows.is_empty() {
                context.printer.line("nothing recurs");
            }
            return context.printer.document(&list);
        }
        Command::Add(Add { rule, at, zone, window }) => {
            let new = NewPlan { rule, starts_at: at, zone, window: window.new_window() };
            let plan = client.add_plan(&new).await?;
            context.printer.line(format!(
                "plan {} will freeze {}",
                plan.id,
                describe_scope(&plan.window.scope)
            ));
            plan
        }
        Command::Show { plan } => client.plan(&PlanId::from(plan)).await?,
        Command::Skip { plan, at } => client.skip_occurrence(&PlanId::from(plan), at).await?,
        Command::Remove { plan } => {
            let plan = client.remove_plan(&PlanId::from(plan)).await?;
            context.printer.line(format!("removed plan {}", plan.id));
            for issued in &plan.windows {
                context.printer.line(format!(
                    "window {} of {} stays; `quiesce cancel {}` takes it back",
                    issued.window, issued.starts_at, issued.window
                ));
            }
            return context.printer.document(&plan);
        }
    };
    show(context, &plan);
    context.printer.document(&plan)
}

fn show(context: &Context, plan: &PlanView) {
    let field = |name: &str, value: &str| context.printer.line(format!("  {DIM}{name:<7}{DIM:#} {value}"));
    field("rule", &format!("{} from {} {}", plan.rule, plan.starts_at, plan.zone));
    for issued in &plan.windows {
        field("issued", &format!("{} as window {}", issued.starts_at, issued.window));
    }
    plan.upcoming.iter().for_each(|at| field("next", at));
    plan.skipped.iter().for_each(|at| field("skipped", &at.to_string()));
}
