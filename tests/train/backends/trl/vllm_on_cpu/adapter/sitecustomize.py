__import__("cpu_vllm").hook()
