-- What content may be: the published JSON Schema (public.content_schema), and the check that is made of it at insert.

create or replace function public.schema_problem(p_value jsonb, p_schema jsonb, p_path text, p_defs jsonb) returns text
language plpgsql immutable
set search_path = ''
as $$
declare
  s jsonb := p_schema;
  kind text := jsonb_typeof(p_value);
  problem text;
  size numeric;
  k text;
  v jsonb;
  i bigint;
begin
  while s ? '$ref' loop
    s := p_defs -> substr(s ->> '$ref', 9);
  end loop;
  if s ? 'type' and not (s -> 'type') ? kind
    and not (kind = 'number' and (s -> 'type') ? 'integer' and (p_value #>> '{}')::numeric % 1 = 0) then
    return p_path || ' must be ' || public.schema_types(s -> 'type');
  end if;
  if s ? 'const' and p_value <> s -> 'const' then
    return p_path || ' must be ' || (s -> 'const')::text;
  elsif s ? 'enum' and not (s -> 'enum') @> jsonb_build_array(p_value) then
    return p_path || ' must be ' || public.one_of(s -> 'enum');
  end if;
  case kind
    when 'string' then
      if s ?| '{minLength,maxLength}' then
        -- Markdown shrinks on its way: counted without its markers, nothing is refused that would have fitted.
        size := length(case when s -> 'x-markdown' = 'true' then translate(p_value #>> '{}', '*_~#', '') else p_value #>> '{}' end);
        if length(p_value #>> '{}') < (s ->> 'minLength')::int then
          return p_path || case when p_value = '""' then ' must not be empty' else format(' has %s characters; at least %s', size, s ->> 'minLength') end;
        elsif size > (s ->> 'maxLength')::int then
          return p_path || format(' has %s characters; at most %s', size, s ->> 'maxLength');
        end if;
      end if;
      if s ? 'pattern' and p_value #>> '{}' !~ (s ->> 'pattern') then
        return p_path || ' is not of the form ' || (s ->> 'pattern');
      end if;
    when 'number' then
      if (p_value #>> '{}')::numeric < (s ->> 'minimum')::numeric then
        return p_path || ' is less than ' || (s ->> 'minimum');
      elsif (p_value #>> '{}')::numeric > (s ->> 'maximum')::numeric then
        return p_path || ' is more than ' || (s ->> 'maximum');
      end if;
    when 'object' then
      if s ? 'required' and not p_value ?& array(select jsonb_array_elements_text(s -> 'required')) then
        select x into k from jsonb_array_elements_text(s -> 'required') with ordinality r (x, n) where not p_value ? x order by n limit 1;
        return p_path || '.' || k || ' is missing';
      end if;
      if s ? 'properties' then
        for k, v in select key, value from jsonb_each(p_value) loop
          continue when not (s -> 'properties') ? k;
          problem := public.schema_problem(v, s #> array['properties', k], p_path || '.' || k, p_defs);
          if problem is not null then
            return problem;
          end if;
        end loop;
      end if;
      if s ? 'minProperties' and (select count(*) from jsonb_object_keys(p_value)) < (s ->> 'minProperties')::int then
        return p_path || format(' needs at least %s fields', s ->> 'minProperties');
      end if;
    when 'array' then
      size := jsonb_array_length(p_value);
      if size < (s ->> 'minItems')::int then
        return p_path || format(' has %s elements; at least %s', size, s ->> 'minItems');
      elsif size > (s ->> 'maxItems')::int then
        return p_path || format(' has %s elements; at most %s', size, s ->> 'maxItems');
      end if;
      if s ? 'items' then
        for v, i in select e, n - 1 from jsonb_array_elements(p_value) with ordinality x (e, n) loop
          problem := public.schema_problem(v, s -> 'items', p_path || '[' || i || ']', p_defs);
          if problem is not null then
            return problem;
          end if;
        end loop;
      end if;
      if s ? 'x-unique' then
        select x into v from jsonb_array_elements(p_value) e, lateral (select e #> string_to_array(s ->> 'x-unique', '.')) p (x)
        where x is not null group by x having count(*) > 1 limit 1;
        if found then
          return p_path || format(': %s %s stands there twice', s ->> 'x-unique', v);
        end if;
      end if;
      if s ? 'x-total' then
        select sum(jsonb_array_length(e #> string_to_array(s #>> '{x-total,path}', '.'))) into size from jsonb_array_elements(p_value) e
        where jsonb_typeof(e #> string_to_array(s #>> '{x-total,path}', '.')) = 'array';
        if size > (s #>> '{x-total,max}')::int then
          return p_path || format(' have %s %s in all; at most %s', size, s #>> '{x-total,path}', s #>> '{x-total,max}');
        end if;
      end if;
    else
  end case;
  if s ? 'if' then
    v := s -> case when public.schema_problem(p_value, s -> 'if', '', p_defs) is null then 'then' else 'else' end;
    problem := case when v is not null then public.schema_problem(p_value, v, p_path, p_defs) end;
    if problem is not null then
      return problem;
    end if;
  end if;
  if s ? 'allOf' then
    for v in select e from jsonb_array_elements(s -> 'allOf') e loop
      problem := public.schema_problem(p_value, v, p_path, p_defs);
      if problem is not null then
        return problem;
      end if;
    end loop;
  end if;
  if s ? 'anyOf' and not exists (
    select from jsonb_array_elements(s -> 'anyOf') e where public.schema_problem(p_value, e, p_path, p_defs) is null) then
    return p_path || ' is none of what it may be';
  end if;
  return null;
end
$$;
comment on function public.schema_problem(jsonb, jsonb, text, jsonb) is
  'The first thing that is wrong with a value by a JSON Schema, naming the field and the limit; null when nothing is. Knows the keywords that content_schema uses.';

create or replace function public.one_of(p_values jsonb) returns text
language sql immutable parallel safe
set search_path = ''
as $$
  select case when count(*) = 1 then min(x) else string_agg(x, ', ' order by n) filter (where n < c) || ' or ' || max(x) filter (where n = c) end
  from (select e::text as x, n, count(*) over () as c from jsonb_array_elements(p_values) with ordinality r (e, n)) e
$$;

create or replace function public.schema_types(p_types jsonb) returns text
language sql immutable parallel safe
set search_path = ''
as $$
  select string_agg(case when t = any ('{object,array,integer}') then 'an ' || t when t = 'null' then t else 'a ' || t end, ' or ')
  from jsonb_array_elements_text(case when jsonb_typeof(p_types) = 'array' then p_types else jsonb_build_array(p_types) end) t
$$;

create or replace function public.refuse_content(p_field text, p_problem text) returns void
language plpgsql immutable
set search_path = ''
as $$
begin
  raise exception 'messages.% %', p_field, p_problem
    using errcode = '23514', schema = 'public', table = 'messages', constraint = 'messages_content_schema';
end
$$;
comment on function public.refuse_content(text, text) is 'Refuses a message row, naming the field. SQLSTATE 23514.';

create or replace function public.check_content(p_content jsonb, p_direction public.direction, p_sends boolean default true) returns void
language plpgsql immutable
set search_path = ''
as $$
declare
  defs constant jsonb := public.content_schema() -> '$defs';
  problem text;
begin
  if p_content is null or jsonb_typeof(p_content) <> 'object' then
    perform public.refuse_content('content', 'must be a JSON object');
  end if;
  -- A plain text, which most are, is checked without walking through the schema.
  if p_content ->> 'type' = 'text' and p_content ->> 'kind' = 'text' and p_content ->> 'version' = '1' and jsonb_typeof(p_content -> 'version') = 'string'
    and jsonb_typeof(p_content -> 'text') = 'string' and (p_content ->> 'text' <> '' or p_direction <> 'outgoing')
    and coalesce(jsonb_typeof(p_content -> 're_message_id'), 'string') = 'string' and p_content ->> 're_message_id' is distinct from ''
    and not p_content ?| '{fallback,preview_url,forwarded}' then
    return;
  end if;
  -- What is sent must be what WhatsApp takes; of what is only kept, the form.
  problem := public.schema_problem(p_content,
    defs -> case when p_direction = 'outgoing' and not p_sends then 'incoming' else p_direction::text end, 'content', defs);
  if problem is not null then
    raise exception 'messages.%', problem
      using errcode = '23514', schema = 'public', table = 'messages', constraint = 'messages_content_schema',
        hint = 'select content_schema() shows what content may be';
  end if;
end
$$;
comment on function public.check_content(jsonb, public.direction, boolean) is
  'Refuses (23514) content that breaks the model, or that WhatsApp would surely refuse, with a message that names the field and the limit.';
