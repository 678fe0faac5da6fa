-- Credentials: whatever looks like a secret is taken out of a row before it is stored.

create or replace function secrets.is_secret(key text) returns boolean
language sql immutable parallel safe
set search_path = ''
as $$
  select lower(key) = any ('{access_token,refresh_token,api_key,password,token,secret,client_secret,authorization}')
$$;
comment on function secrets.is_secret(text) is 'Whether a key of extra, anywhere in it, holds a secret. All headers of a tool do as well.';

create or replace function secrets.keep(p_organization uuid, p_subject text, p_key text, p_path text, p_value text) returns void
language plpgsql
set search_path = ''
as $$
begin
  insert into secrets.credentials (organization_id, subject, subject_key, path, plain)
  values (p_organization, p_subject, p_key, p_path, p_value)
  on conflict (organization_id, subject, subject_key, path) do update
    set plain = excluded.plain, sealed = null, updated_at = now();
  perform bus.enqueue('seal', p_organization, p_subject || ' ' || p_key || ' ' || p_path, p_path);
end
$$;
comment on function secrets.keep(uuid, text, text, text, text) is 'Stores one credential, in place of an older one, and asks the seal loop to encrypt it.';

create or replace function secrets.take(
  p_organization uuid, p_subject text, p_key text, p_value jsonb, p_path text default '', p_all boolean default false)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  result jsonb := p_value;
  k text;
  v jsonb;
  i bigint;
  step text;
begin
  if p_value is null then
    -- extra was cleared as a whole
    delete from secrets.credentials where (organization_id, subject, subject_key) = (p_organization, p_subject, p_key);
  elsif jsonb_typeof(p_value) = 'object' then
    for k, v in select * from jsonb_each(p_value) loop
      step := ltrim(p_path || '.' || k, '.');
      if jsonb_typeof(v) in ('object', 'array') then
        result := jsonb_set(result, array[k], secrets.take(p_organization, p_subject, p_key, v, step, lower(k) = 'headers'));
      elsif not (p_all or secrets.is_secret(k)) then
        continue;
      elsif jsonb_typeof(v) = 'null' or v = '""' then
        delete from secrets.credentials
        where (organization_id, subject, subject_key, path) = (p_organization, p_subject, p_key, step);
      elsif v <> '"[sealed]"' then
        perform secrets.keep(p_organization, p_subject, p_key, step, v #>> '{}');
        result := jsonb_set(result, array[k], '"[sealed]"');
      end if;
    end loop;
  elsif jsonb_typeof(p_value) = 'array' then
    for v, i in select e, n - 1 from jsonb_array_elements(p_value) with ordinality as x (e, n) loop
      step := p_path || '.' || coalesce(v ->> 'label', v ->> 'name', i::text);
      result := jsonb_set(result, array[i::text], secrets.take(p_organization, p_subject, p_key, v, step, p_all));
    end loop;
  end if;
  return result;
end
$$;
comment on function secrets.take(uuid, text, text, jsonb, text, boolean) is
  'p_value with every secret in it moved to secrets.credentials and "[sealed]" in its place. Writing "[sealed]" back keeps what is stored; null or "" forgets it.';

create or replace function secrets.as_json(c secrets.credentials) returns jsonb
language sql stable
as $$
  select jsonb_build_object('organization_id', c.organization_id, 'subject', c.subject, 'subject_key', c.subject_key,
                            'path', c.path, 'plain', c.plain, 'sealed', encode(c.sealed, 'base64'))
$$;
comment on function secrets.as_json(secrets.credentials) is
  'A credential as the loops read it: sealed (base64), or plain when the seal loop has not come to it yet.';

create or replace function secrets.get(p_organization uuid, p_subject text, p_key text, p_path text) returns jsonb
language sql stable
set search_path = ''
as $$
  select secrets.as_json(c) from secrets.credentials c
  where (c.organization_id, c.subject, c.subject_key, c.path) = (p_organization, p_subject, p_key, p_path)
$$;
comment on function secrets.get(uuid, text, text, text) is 'One credential, as secrets.as_json shows it; null when there is none.';

create or replace function secrets.forget() returns trigger
language plpgsql
set search_path = ''
as $$
begin
  delete from secrets.credentials c
  where (c.organization_id, c.subject, c.subject_key) = (old.organization_id, tg_table_name::text, to_jsonb(old) ->> tg_argv[0]);
  return null;
end
$$;
comment on function secrets.forget() is 'After-delete trigger: the credentials of a row go with it. Its argument is the column that is the row''s key.';

create or replace function bus.claim_seal(p_worker uuid, p_limit int, p_after uuid, p_awake boolean)
returns setof bus.job
language plpgsql
set search_path = ''
as $$
declare
  claimed bus.claimed[];
begin
  -- Claimed first: a statement's snapshot is older than what a claim within it finds.
  claimed := array(select c::bus.claimed from bus.claim('seal', p_worker, p_limit, p_after, p_awake) c);
  return query
  select t.queue, t.organization_id, t.key, t.id, t.lane, t.attempt, t.version,
    jsonb_build_object('organization_id', c.organization_id, 'subject', c.subject, 'subject_key', c.subject_key,
                       'path', c.path, 'plain', c.plain)
  from unnest(claimed) t
  left join secrets.credentials c
    on c.organization_id = t.organization_id
    and c.subject || ' ' || c.subject_key || ' ' || c.path = t.key
    and c.plain is not null;
end
$$;
comment on function bus.claim_seal(uuid, int, uuid, boolean) is 'Claims credentials to encrypt. The payload is null where there is nothing left to do.';

create or replace function bus.finish_seal(p_results jsonb) returns void
language plpgsql
set search_path = ''
as $$
begin
  update secrets.credentials c set sealed = decode(r.sealed, 'base64'), plain = null
  from jsonb_to_recordset(p_results) as r (organization_id uuid, subject text, subject_key text, path text, plain text, sealed text)
  where (c.organization_id, c.subject, c.subject_key, c.path) = (r.organization_id, r.subject, r.subject_key, r.path)
    and c.plain = r.plain and r.sealed is not null;
  perform bus.finish(p_results);
end
$$;
comment on function bus.finish_seal(jsonb) is 'Stores the sealed values whose plain ones have not changed meanwhile, and finishes the tasks.';
