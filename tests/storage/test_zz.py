import time, resource, os
from concurrent.futures import ThreadPoolExecutor
from qbo_attach.storage.files import Store
from tests.conftest import *
def timed(name, f):
    for _ in range(3):
        w,c=time.perf_counter(),time.process_time(); n=f(); print(f"{name}: {n} wall {time.perf_counter()-w:.3f} cpu {time.process_time()-c:.3f}")
def test_m(tmp_path, s3_weed):
    for n in range(20000):
        d=tmp_path/f"C{n%200}"/"Txn"/f"80{n//2}"
        if n%2==0 or not d.exists(): d.mkdir(parents=True, exist_ok=True)
        (d/f"f{n}.pdf").write_bytes(b"x")
    s=Store(str(tmp_path)); timed("disk", lambda: sum(1 for _ in s.list_files()))
    url=s3_weed.new_bucket(); c=s3_weed.client(); b=url[5:]
    with ThreadPoolExecutor(16) as p: list(p.map(lambda n: c.put_object(Bucket=b,Key=f"Attach/C{n%200}/Txn/80{n//2}/f{n}.pdf",Body=b"x"*1000), range(5000)))
    s=Store(url+"/Attach", s3_weed.options); timed("weed", lambda: sum(1 for _ in s.list_files()))
    import s3fs
    fs=s3fs.S3FileSystem(**s3_weed.options, skip_instance_cache=True, use_listings_cache=False); timed("s3fs.find", lambda: len(fs.find(b+"/Attach", detail=True)))
