"""Billing: one account for the organization, for its admins' eyes."""

from datetime import UTC, datetime, timedelta

from baseten.client.managementapi import GetBillingUsageSummaryParams

from guildhall import refusal


def days(back, span):
    """A window of `span` days that ended `back` days ago."""
    end = datetime.now(UTC) - timedelta(days=back)
    return GetBillingUsageSummaryParams(start_date=end - timedelta(days=span), end_date=end)


def dollars(amount):
    """Money is a number or a decimal string."""
    return float(getattr(amount, "root", amount))


def sections(summary):
    every = (summary.dedicated_usage, summary.training_usage, summary.model_apis_usage)
    return [section for section in every if section is not None]


def test_an_organization_admin_sees_a_month_of_usage_over_all_teams(acme):
    summary = acme.admin.api.get_billing_usage_summary(params=days(0, 31))
    assert any(dollars(section.total) > 0 for section in sections(summary)), "the demo has a month of usage"
    for section in sections(summary):
        paid = dollars(section.total) - dollars(section.credits_used)
        assert abs(dollars(section.subtotal) - paid) < 0.01

    teams = {team.id: team.name for team in acme.teams}
    used_by = [
        (item.billable_resource.team_id, item.billable_resource.team_name)
        for section in (summary.dedicated_usage, summary.training_usage)
        if section is not None
        for item in section.breakdown or []
    ]
    assert len(set(used_by)) > 1, "several teams share the account"
    assert set(used_by) <= set(teams.items())


def test_a_time_without_use_costs_nothing(fresh_acme):
    founder = fresh_acme.guildhall.new_organization("Elsewhere")
    for section in sections(founder.api.get_billing_usage_summary(params=days(0, 31))):
        assert dollars(section.total) == 0 and not section.breakdown


def test_nobody_else_sees_billing(acme):
    for caller in (acme.team_admin, acme.member, acme.stranger):
        assert "Manage billing" in refusal(403, caller.api.get_billing_usage_summary, params=days(0, 7))
    for team in acme.teams:
        for key in team.keys.values():
            refusal(403, key.api.get_billing_usage_summary, params=days(0, 7))


def test_windows_that_cannot_be(acme):
    api = acme.admin.api
    refusal(400, api.get_billing_usage_summary, params=days(0, 32))
    refusal(400, api.get_billing_usage_summary, params=days(0, -1))
    for missing in ({}, {"start_date": "2026-11-01T00:00:00Z"}, {"start_date": "yesterday", "end_date": "today"}):
        assert acme.admin.http.get("/v1/billing/usage_summary", params=missing).status_code == 400
