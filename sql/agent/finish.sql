-- The end of a step: its results, its calls and its answer are stored with the decision what comes next.

create or replace function bus.say(c public.conversations, p_agent uuid, p_contents jsonb, p_seen jsonb, p_closed boolean, out message uuid, out refusal text)
language plpgsql
set search_path = ''
as $$
begin
  if p_closed and exists (select from jsonb_array_elements(p_contents) x where x ->> 'kind' <> 'template') then
    refusal := 'the 24-hour window is closed: only a template can be sent';
    return;
  end if;
  begin
    message := bus.answer(c, p_agent, p_contents, 'outgoing', jsonb_build_object('answers', coalesce(p_seen, '[]')));
  exception
    when integrity_constraint_violation or data_exception or raise_exception then
      refusal := sqlerrm;
  end;
end
$$;
comment on function bus.say(public.conversations, uuid, jsonb, jsonb, boolean) is 'Sends an agent''s answer, all of it or nothing; refusal says why nothing.';

create or replace function bus.finish_step(r bus.step, t bus.tasks, out again boolean)
language plpgsql
set search_path = ''
as $$
declare
  c public.conversations;
  o public.organizations;
  said record;
  v_first uuid;
  v_calls uuid;
  x jsonb;
begin
  again := false;
  select * into c from public.conversations where organization_id = r.organization_id and id = r.key::uuid for no key update;
  if c.id is null then
    return;
  end if;
  if r.agent_id is not null and not exists (select from public.agents a where a.organization_id = c.organization_id and a.id = r.agent_id) then
    -- Deleted while it thought: what it would have said is nobody's.
    r.agent_id := null;
    r.answer := null;
    r.turn := null;
    r.remote := null;
    again := true;
  end if;
  -- What tools did is a fact, whatever has happened since.
  for x in select e from jsonb_array_elements(r.results) e loop
    again := bus.store_result(c.organization_id, (x ->> 'message_id')::uuid, coalesce((x ->> 'is_error')::boolean, false), x -> 'result') or again;
  end loop;
  update bus.calls k set state = 'ready'
  where k.organization_id = c.organization_id and k.conversation_id = c.id and k.state = 'started'
    and k.message_id::text in (select jsonb_array_elements_text(r.unstarted));
  again := again or found;

  if t.version = r.version and (r.answer is not null or r.turn is not null or r.apology is not null or r.remote is not null or r.forget is not null) then
    select * into o from public.organizations where id = c.organization_id;
    if bus.is_paused(c.extra, bus.pause_of(o.extra)) and not bus.has_last_words(c.extra, coalesce((
      select m.created_at from public.messages m where m.organization_id = c.organization_id and m.id = t.subject::uuid), 'infinity')) then
      perform bus.drop_calls(c, 'a person has taken over');
      again := false;
    else
      if r.forget is not null then
        -- What was before is left behind: no summary brings it back.
        update public.conversations x set extra = jsonb_build_object(
          'memory', null, 'assigned_agent_id', null, 'summary', null, 'fresh_since', r.forget - interval '1 microsecond')
        where x.organization_id = c.organization_id and x.id = c.id;
      end if;
      if r.answer is not null then
        select * into said from bus.say(c, r.agent_id, r.answer, r.seen, bus.agent_window(c) is not null);
        v_first := said.message;
        if said.refusal is not null then
          v_first := bus.answer(c, r.agent_id, jsonb_build_array(jsonb_build_object('version', '1', 'type', 'data', 'kind', 'refused',
            'data', jsonb_build_object('answer', r.answer, 'reason', left(said.refusal, 1000)), 'text', left(said.refusal, 1000))), 'internal');
          again := true;
        end if;
      end if;
      if r.turn is not null then
        v_calls := bus.store_calls(c, r.agent_id, r.turn);
        v_first := coalesce(v_first, v_calls);
        again := true;
      end if;
      if r.remote is not null then
        v_first := bus.answer(c, r.agent_id, jsonb_build_array(r.remote), 'internal');
      end if;
      if r.apology is not null then
        perform bus.answer(c, r.agent_id, r.apology, 'outgoing');
      end if;
    end if;
  end if;
  if r.usage is not null then
    begin
      perform bus.spend(c.organization_id, c.id, v_first, r.agent_id, 'answer', r.usage, coalesce(jsonb_array_length(r.turn -> 'calls'), 0));
    exception when data_exception or integrity_constraint_violation then
      -- What cannot be booked (a price that is none) must not cost the answer.
      insert into public.logs (organization_id, organization_address, level, category, service, message, metadata)
      values (c.organization_id, c.organization_address, 'error', 'usage', c.service, 'a call of a model could not be booked: ' || left(sqlerrm, 500), r.usage);
    end;
  end if;
  if r.error is not null and (r.outcome = 'dead' or (r.outcome = 'retry' and t.version = r.version and t.attempt = 5)) then
    insert into public.logs (organization_id, organization_address, level, category, service, message, metadata)
    values (c.organization_id, c.organization_address, case r.outcome when 'dead' then 'error' else 'warning' end::public.log_level, 'agent', c.service, left(r.error, 1000),
      jsonb_build_object('conversation_id', c.id, 'agent_id', r.agent_id));
  end if;
  if r.error is not null and r.outcome = 'dead' then
    perform bus.answer(c, r.agent_id, jsonb_build_array(jsonb_build_object(
      'version', '1', 'type', 'text', 'kind', 'error', 'text', left(r.error, 1000))), 'internal');
  end if;
  if r.answer is not null and not again then
    perform bus.ask_summary(c, r.agent_id);
  end if;
end
$$;
comment on function bus.finish_step(bus.step, bus.tasks) is
  'Stores what a step came to, unless the conversation has moved on: no newer message, no person, no pause. again: whether another step follows.';

create or replace function bus.finish_agent(p_results jsonb) returns void
language plpgsql
set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = off set jit = off
as $$
declare
  r bus.step;
  t bus.tasks;
  v_again boolean;
begin
  for r in select * from jsonb_populate_recordset(null::bus.step, p_results) x order by x.organization_id, x.key loop
    -- Locked before looking: a message that arrives now waits for us, or we for it. The conversation first, as whoever
    -- takes it over does.
    perform 1 from public.conversations c where c.organization_id = r.organization_id and c.id = r.key::uuid for no key update;
    select * into t from bus.tasks x
    where (x.organization_id, x.queue, x.key, x.id, x.attempt) = (r.organization_id, r.queue, r.key, r.id, r.attempt) for update;
    continue when not found;
    v_again := bus.finish_step(r, t);
    if t.version <> r.version or r.outcome = 'again' then
      -- Outdated, or interrupted: the next step begins anew, when the burst is over.
      perform bus.set_aside(r.organization_id, r.key, r.id, null, greatest(0, extract(epoch from t.due_at - clock_timestamp()))::float8);
      continue;
    elsif (v_again or r.after is not null) and coalesce(r.outcome, 'done') = 'done' then
      perform bus.set_aside(r.organization_id, r.key, r.id, case when r.after is not null then 'remote' end,
        case when t.waits_for = 'recall' then 0 else coalesce(r.after, 0) end);
      continue;
    end if;
    perform bus.finish(jsonb_build_array(jsonb_build_object(
      'queue', r.queue, 'organization_id', r.organization_id, 'key', r.key, 'id', r.id, 'attempt', r.attempt, 'version', r.version,
      'outcome', r.outcome, 'after', r.after, 'error', r.error)));
    -- Where questions are open, the run comes back when the first of them expires, however it ended now.
    insert into bus.tasks (queue, organization_id, key, subject, single, run_at, waits_for)
    select 'agent', r.organization_id, r.key, t.subject, true, clock_timestamp() + make_interval(secs => x.seconds), 'approval'
    from bus.next_expiry(r.organization_id, r.key::uuid) x (seconds) where x.seconds is not null
    on conflict (organization_id, queue, key) where single do nothing;
  end loop;
end
$$;
comment on function bus.finish_agent(jsonb) is 'Ends steps of runs (bus.step each): stores what came of them, and asks for the next step where there is one.';
