-- SPDX-License-Identifier: GPL-2.0-or-later
create table t(id integer primary key, k text, v integer);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000)
  insert into t select i, 'key' || (i * 7919 % 4001), i * 31 % 1009 from n;
create index tk on t(k);
select count(*), sum(v) from t where k like 'key1%';
select k, sum(v) s from t group by k order by s desc limit 5;
select count(*) from t a join t b on a.k = b.k where a.id < 3000;
update t set v = v + 1 where id % 3 = 0;
delete from t where v % 7 = 0;
select count(*), avg(v) from t;
