-- What a membership pays in a month, for the report on memberships.
-- migrate: up

-- An amount by the interval at which it is paid ("month", "3 month", "week"); null where the interval is not known.
create function paid_a_month(p_amount_minor bigint, p_every text) returns bigint
language sql immutable parallel safe as $$
    select case when months > 0 then round(p_amount_minor / months)
        when days > 0 then round(p_amount_minor * 365.25 / 12 / days) end::bigint
    from (
        select extract(year from every) * 12 + extract(month from every) as months, extract(day from every) as days
        from (select interval_of(p_every) as every) as said
    ) as parts
$$;

-- migrate: down

drop function paid_a_month(bigint, text);
