-- bindings, policies: what is checked when they are written.

create or replace function public.before_write_bindings() returns trigger
language plpgsql
set search_path = ''
as $$
declare
  v_copies numeric;
begin
  if not exists (select from public.agents a where a.organization_id = new.organization_id and a.id = new.agent_id and a.ai) then
    raise exception 'bindings.agent_id: organization % has no AI agent %', new.organization_id, new.agent_id using errcode = '23503';
  end if;
  if new.text_regex is not null then
    -- Back-references make matching slow beyond all bounds, and large counted repetitions the pattern itself, in every
    -- connection that uses it; everything else is linear in the text.
    if length(new.text_regex) > 500 then
      raise exception 'bindings.text_regex: has % characters; 500 are the limit', length(new.text_regex) using errcode = '23514';
    elsif new.text_regex ~ '\\[1-9]' then
      raise exception 'bindings.text_regex: back-references (\1) are not supported' using errcode = '23514';
    end if;
    select exp(sum(ln(greatest(1, n)))) into v_copies
    from (
      select greatest(nullif(r[1], '')::numeric, nullif(r[2], '')::numeric) as n
      from regexp_matches(new.text_regex, '\{([0-9]{0,9})[0-9]*,?([0-9]{0,9})[0-9]*\}', 'g') r) counted;
    if v_copies > 1000 then
      raise exception 'bindings.text_regex: the counted repetitions ({n}) multiply to more than 1000' using errcode = '23514';
    end if;
    begin
      perform 'x' ~* new.text_regex;
    exception when invalid_regular_expression then
      raise exception 'bindings.text_regex: %', sqlerrm using errcode = '23514';
    end;
  end if;
  new.updated_at := now();
  return new;
end
$$;
comment on function public.before_write_bindings() is 'Refuses rules for agents that do not exist and patterns that do not compile.';

create or replace trigger check_binding before insert or update on public.bindings
  for each row execute function public.before_write_bindings();
create or replace trigger set_updated_at before update on public.policies
  for each row execute function public.set_updated_at();

create or replace function bus.digits(p_text text) returns text
language sql immutable parallel safe
set search_path = ''
as $$
  select case when p_text ~ '^[+0-9 ().-]+$' then regexp_replace(p_text, '[^0-9]', '', 'g') else p_text end
$$;
comment on function bus.digits(text) is 'A phone number as people write it, in digits; anything else as it is.';

create or replace function bus.binding_matches(b public.bindings, c public.conversations, m public.messages) returns boolean
language sql stable
set search_path = ''
as $$
  -- What is not known matches nothing.
  select coalesce((b.service is null or b.service = c.service)
    and (b.organization_address is null or b.organization_address = c.organization_address or bus.digits(b.organization_address) = (
      select n.extra ->> 'phone_number' from public.organizations_addresses n
      where n.organization_id = c.organization_id and n.address = c.organization_address))
    and (b.group_address is null or b.group_address = c.group_address)
    and (b.contact_address is null or bus.digits(b.contact_address) = coalesce(m.contact_address, c.contact_address)
      or bus.digits(b.contact_address) = (
        select a.extra ->> 'phone_number' from public.contacts_addresses a
        where a.organization_id = c.organization_id and a.service = c.service and a.address = coalesce(m.contact_address, c.contact_address)))
    and (b.text_regex is null or left(coalesce(m.content ->> 'text', ''), 4000) ~* b.text_regex), false)
$$;
comment on function bus.binding_matches(public.bindings, public.conversations, public.messages) is 'Whether a rule is about this message.';

create or replace function bus.judge(p_organization uuid, p_service public.service, p_agent uuid, p_tool text, p_effect text) returns public.policies
language sql stable
set search_path = ''
as $$
  select p from public.policies p
  where p.organization_id = p_organization
    and (p.service is null or p.service = p_service)
    and (p.agent_id is null or p.agent_id = p_agent)
    and (p.effect is null or p.effect = p_effect)
    and (p.tool is null or p_tool like replace(replace(replace(replace(p.tool, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%'))
  order by p.position, p.id limit 1
$$;
comment on function bus.judge(uuid, public.service, uuid, text, text) is 'The policy that decides about a call; null when none does, and it is allowed.';
