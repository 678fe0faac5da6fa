-- The 24-hour window: whoever has written may be answered freely for a day; afterwards only by templates.

create or replace function public.window_opened_at(p_organization uuid, p_address text, p_contact text) returns timestamptz
language sql stable security definer
set search_path = ''
as $$
  select w.opened_at from bus.windows w
  where (w.organization_id, w.organization_address, w.contact_address) = (p_organization, p_address, p_contact)
$$;
comment on function public.window_opened_at(uuid, text, text) is 'When a contact wrote last to a number, as far as is known.';

create or replace function bus.open_windows(p_organizations uuid[], p_addresses text[], p_contacts text[], p_times timestamptz[]) returns void
language sql
set search_path = ''
as $$
  insert into bus.windows as w (organization_id, organization_address, contact_address, opened_at)
  select o, a, c, max(t) from unnest(p_organizations, p_addresses, p_contacts, p_times) x (o, a, c, t) group by o, a, c order by o, a, c
  on conflict (organization_id, organization_address, contact_address) do update set opened_at = excluded.opened_at
  where excluded.opened_at > w.opened_at + interval '10 s'
$$;
comment on function bus.open_windows(uuid[], text[], text[], timestamptz[]) is 'Somebody has written: free-form answers are allowed for a day from then.';

create or replace function public.window_is_closed(p_organization uuid, p_address text, p_contact text) returns boolean
language sql stable
as $$
  select coalesce(
    -- A minute of margin: the send takes time as well.
    public.window_opened_at(p_organization, p_address, p_contact) < now() - interval '23 hours 59 minutes',
    -- Nothing came in as long as we have been listening. Of the time before that nobody here knows: Meta decides then,
    -- and always for numbers that are only developed with.
    (select coalesce(a.extra ->> 'environment', 'production') <> 'development' and coalesce(bus.as_time(a.extra ->> 'connected_at'), a.created_at) < now() - interval '24 hours'
     from public.organizations_addresses a where a.organization_id = p_organization and a.address = p_address))
$$;
comment on function public.window_is_closed(uuid, text, text) is 'Whether a free-form message to the contact would be refused (131047) for sure.';

create or replace view public.conversations_windows with (security_invoker) as
  select c.organization_id, c.id as conversation_id,
    case when w.closes_at > now() then 'open'
         when w.opened_at is not null or public.window_is_closed(c.organization_id, c.organization_address, c.contact_address) then 'closed'
         else 'unknown' end as state,
    w.opened_at, w.closes_at
  from public.conversations c
  cross join lateral (
    select o as opened_at, o + interval '24 hours' as closes_at
    from public.window_opened_at(c.organization_id, c.organization_address, c.contact_address) o) w
  where c.service in ('whatsapp', 'instagram') and c.group_address is null;
comment on view public.conversations_windows is
  'The 24-hour window of each conversation: open, closed (only templates get through), or unknown (nobody has written since the number was connected, less than a day ago).';
