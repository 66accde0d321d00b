"""Tests compute under the exchange's own sessions unless they say otherwise; services, started by them or not, under what they read."""

from shared.market.calendar import NO_CLOSURES, set_calendar

set_calendar(NO_CLOSURES)
