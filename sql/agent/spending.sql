-- What models cost, and how much of it an agent may spend.

create or replace function bus.cost(p_provider text, p_model text, u jsonb) returns numeric
language plpgsql stable
set search_path = ''
as $$
begin
  return (
    -- The parts that have a price of their own; the rest of what was read and written by the plain one.
    select ((n.input - n.cache_read - n.cache_write - n.audio_input) * p.input + n.cache_read * coalesce(p.cache_read, p.input)
        + n.cache_write * coalesce(p.cache_write, p.input) + n.audio_input * coalesce(p.audio_input, p.input)
        + (n.output - n.reasoning - n.audio_output) * p.output + n.reasoning * coalesce(p.reasoning, p.output)
        + n.audio_output * coalesce(p.audio_output, p.output)) / c.quantity
    from billing.costs c
    cross join jsonb_to_record(c.pricing) p (input numeric, cache_read numeric, cache_write numeric, audio_input numeric, output numeric, reasoning numeric, audio_output numeric)
    cross join lateral (
      select coalesce(x.input, 0) as input, coalesce(x.cache_read, 0) as cache_read, coalesce(x.cache_write, 0) as cache_write,
        coalesce(x.audio_input, 0) as audio_input, coalesce(x.output, 0) as output, coalesce(x.reasoning, 0) as reasoning, coalesce(x.audio_output, 0) as audio_output
      from jsonb_to_record(u) x (input numeric, cache_read numeric, cache_write numeric, audio_input numeric, output numeric, reasoning numeric, audio_output numeric)) n
    where c.provider = p_provider and c.product = p_model and c.effective_at <= now()
    order by c.effective_at desc limit 1);
end
$$;
comment on function bus.cost(text, text, jsonb) is 'What a call cost in US dollars by the newest price in force; null when the model has none. u: tokens by kind, as a reply''s usage.';

create or replace function bus.spend(
  p_organization uuid, p_conversation uuid, p_message uuid, p_agent uuid, p_purpose text, u jsonb, p_calls int) returns void
language plpgsql
set search_path = ''
as $$
declare
  n jsonb := '{}';
  k text;
  v_cost numeric;
begin
  -- Whatever a model's server says it counted.
  foreach k in array '{input,cache_read,cache_write,audio_input,output,reasoning,audio_output}'::text[] loop
    n := n || jsonb_build_object(k, greatest(0, least(1000000000000, trunc(coalesce(bus.as_number(u ->> k), 0)))));
  end loop;
  v_cost := bus.cost(u ->> 'provider', u ->> 'model', n);
  insert into public.usage (organization_id, conversation_id, message_id, agent_id, purpose, provider, model, billable, input_tokens, cache_read_tokens,
    cache_write_tokens, audio_input_tokens, output_tokens, reasoning_tokens, audio_output_tokens, cost)
  values (p_organization, p_conversation, p_message, p_agent, p_purpose, coalesce(u ->> 'provider', 'custom'), coalesce(u ->> 'model', ''),
    u -> 'billable' = 'true', (n ->> 'input')::bigint, (n ->> 'cache_read')::bigint, (n ->> 'cache_write')::bigint, (n ->> 'audio_input')::bigint,
    (n ->> 'output')::bigint, (n ->> 'reasoning')::bigint, (n ->> 'audio_output')::bigint, v_cost);
  if p_agent is not null and p_conversation is not null then
    insert into bus.spent as s (organization_id, day, agent_id, conversation_id, turns, tool_calls, tokens, cost)
    values (p_organization, (now() at time zone 'utc')::date, p_agent, p_conversation, (p_purpose = 'answer')::int, p_calls,
      (n ->> 'input')::bigint + (n ->> 'output')::bigint, coalesce(v_cost, 0))
    on conflict (organization_id, day, agent_id, conversation_id) do update set
      turns = s.turns + excluded.turns, tool_calls = s.tool_calls + excluded.tool_calls, tokens = s.tokens + excluded.tokens, cost = s.cost + excluded.cost;
  end if;
end
$$;
comment on function bus.spend(uuid, uuid, uuid, uuid, text, jsonb, int) is 'Records a call of a model. u: {provider, model, billable, and tokens by kind}.';

create or replace function bus.over_limit(p_limits jsonb, p_whose text, p_scope text, p_keys text[], s bus.spent) returns text
language sql immutable
set search_path = ''
as $$
  select format('%s may use %s %s %s a day', p_whose, l.value #>> '{}', replace(l.key, '_', ' '), case p_scope when 'conversation' then 'in one conversation' else 'in all' end)
  from jsonb_each(case when jsonb_typeof(p_limits -> p_scope) = 'object' then p_limits -> p_scope else '{}' end) l
  where l.key = any (p_keys) and coalesce(case l.key when 'turns' then s.turns when 'tool_calls' then s.tool_calls when 'tokens' then s.tokens when 'cost' then s.cost end, 0)
    >= bus.as_number(l.value #>> '{}')
  limit 1
$$;

create or replace function bus.limit_reached(o public.organizations, a public.agents, p_conversation uuid, p_keys text[]) returns text
language plpgsql stable
set search_path = ''
as $$
declare
  s bus.spent;
  v_day date := (now() at time zone 'utc')::date;
  v_limits jsonb;
  v_scope text;
  reached text;
begin
  foreach v_scope in array '{conversation,day}'::text[] loop
    v_limits := a.extra -> 'limits';
    if v_limits ? v_scope then
      select o.id, v_day, a.id, p_conversation, sum(x.turns), sum(x.tool_calls), sum(x.tokens), sum(x.cost) into s
      from bus.spent x
      where (x.organization_id, x.day, x.agent_id) = (o.id, v_day, a.id) and (v_scope = 'day' or x.conversation_id = p_conversation);
      reached := bus.over_limit(v_limits, 'the agent', v_scope, p_keys, s);
    end if;
    v_limits := o.extra -> 'limits';
    if reached is null and v_limits ? v_scope then
      select o.id, v_day, a.id, p_conversation, sum(x.turns), sum(x.tool_calls), sum(x.tokens), sum(x.cost) into s
      from bus.spent x
      where (x.organization_id, x.day) = (o.id, v_day) and (v_scope = 'day' or x.conversation_id = p_conversation);
      reached := bus.over_limit(v_limits, 'the organization', v_scope, p_keys, s);
    end if;
    exit when reached is not null;
  end loop;
  return reached;
end
$$;
comment on function bus.limit_reached(public.organizations, public.agents, uuid, text[]) is
  'In words, which limit of extra.limits ({"conversation": {...}, "day": {...}} of turns, tool_calls, tokens, cost, counted by the UTC day) stands in the way of another turn; null for none.';
