from r1zero.cli import main

if __name__ == "__main__":  # the processes of trackers import this module
    main()
